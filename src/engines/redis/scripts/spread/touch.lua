-- Gives a value another TTL. KEYS: the value, and the slot's records. ARGV: the key, the life, 'GET' if the value is wanted
-- or '', and, if the key has been registered for longer: the mark of its record, the time from which the life counts, and
-- the life. {1 if the entry was changed or else 0, the value}; {-1, the time, the mark of the record, the names, a life} if
-- the key has to be registered for longer first.
--
-- The TTL of a loaded value is its fresh time: its window follows, and the head is written anew. What is stale stays as it is.
local value, records, key, wants = KEYS[1], KEYS[2], ARGV[1], ARGV[3] == 'GET'
local content = false
if wants then
  content = redis.pcall('GET', value)
  if type(content) == 'table' then return content end
end
local left = redis.call('PTTL', value)
if left == -2 then return { 0, false } end
local ttl = tonumber(ARGV[2])
local head = head_of(value)
if head then
  if is_over(head, left) then return { 0, content } end
  local elapsed = elapsed_of(head, left)
  head.fresh, head.age = ttl, head.age + (elapsed or 0)
  ttl = whole_ttl(head)
end

local ends = ttl and now + ttl or ever
local above = record_of(records, key)
if above then
  local covered = above[2]
  if above[1] == ARGV[4] then covered = math.max(covered, ARGV[6] == '' and ever or ARGV[5] + ARGV[6]) end
  if covered < ends then return { -1, now, above[1], above[4], ttl and whole(ttl) or '' } end
  if covered > above[2] then record(records, key, above[1], covered, math.max(covered, above[3]), above[4]) end
end
local changed
if ttl then
  changed = redis.call('PEXPIRE', value, whole(ttl))
else
  changed = redis.call('PERSIST', value)
end
if changed == 1 and head then
  -- After the TTL: a server that is full lets a script take up room once it has written what takes none.
  redis.call('SETRANGE', value, 6, packed(head.fresh) .. packed(head.window) .. packed(head.age))
end
return { changed, content }
