-- The sets that an entry is in live as long as the entry, which has a new TTL. Those of which no way back is known have no
-- end.
local function keep_in_reach(key, ttl)
  local names, bucket = parents(key)
  for _, name in ipairs(names) do
    local held = redis.call('PTTL', set_of(name))
    if held >= 0 then last(name, held, ttl) end
  end
  if names[1] and ttl then
    extend(bucket, redis.call('PTTL', bucket), ttl)
  elseif names[1] then
    redis.call('HDEL', bucket, key)
  end
end
