-- KEYS: the entry. ARGV: how a dependency set's name begins and ends, the TTL in milliseconds or '' to make
-- the entry persistent, and 'GET' if the value is wanted. The value that there was, if it is wanted; else 1 if the
-- entry was changed, 0 if not.
--
-- The TTL of a loaded value is its fresh time: its window follows, and the head is written anew. What is stale
-- stays as it is.
local key = KEYS[1]

local function expire(ttl)
  local left = redis.call('PTTL', key)
  local head = left ~= -2 and head_of(key)
  if head then
    if is_over(head, left) then return 0 end
    local elapsed = elapsed_of(head, left)
    head.fresh, head.age = ttl, head.age + (elapsed or 0)
    ttl = whole_ttl(head)
  end

  local changed
  if ttl then
    changed = redis.call('PEXPIRE', key, string.format('%.0f', ttl))
  else
    changed = redis.call('PERSIST', key)
  end
  if changed == 0 then return 0 end
  if head then
    -- After the TTL: a server that is full lets a script take up room once it has written what takes none.
    redis.call('SETRANGE', key, 6, packed(head.fresh) .. packed(head.window) .. packed(head.age))
  end

  keep_in_reach(key, ttl)
  return 1
end

local ttl = tonumber(ARGV[3])
if ARGV[4] ~= 'GET' then return expire(ttl) end
local value = redis.pcall('GET', key)
if type(value) == 'string' then expire(ttl) end
return value
