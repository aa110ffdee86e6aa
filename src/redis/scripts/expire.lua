-- KEYS: the entry. ARGV: how a dependency set's name begins and ends, and the TTL in milliseconds, or
-- '' to make the entry persistent. 1 if it was changed.
local key, ttl = KEYS[1], ARGV[3]
local changed
if ttl == '' then
  changed = redis.call('PERSIST', key)
else
  changed = redis.call('PEXPIRE', key, ttl)
end
if changed == 1 then
  local mine = parents .. key .. '}'
  local names = redis.call('SMEMBERS', mine)
  if names[1] then
    local whole = longest(key, tonumber(ttl))
    local extended = {}
    for _, name in ipairs(names) do
      if extend(depend .. name .. close, whole, false) then extended[#extended + 1] = name end
    end
    extend(mine, whole, false)
    extend_above(extended, whole)
  end
end
return changed
