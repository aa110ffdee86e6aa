-- Writes entries that depend on names, in groups that have the same TTL and the same names. KEYS: the entries of all
-- groups. ARGV: how a dependency set's name begins and ends, a random number, and for each group: the TTL in milliseconds
-- or '', how many names there are, the names, how many entries there are, and their values. Returns for each group 1, or
-- why none of it was written.
local answers, at, entry, seed = {}, 4, 1, tonumber(ARGV[3])

local function write_group()
  local ttl, keys, names = ARGV[at], {}, {}
  for i = 1, ARGV[at + 1] do names[i] = ARGV[at + 1 + i] end
  at = at + 2 + #names
  local count = tonumber(ARGV[at])
  for i = 1, count do keys[i] = KEYS[entry + i - 1] end
  local values = at
  at, entry = at + 1 + count, entry + count

  local grown, wrong = add_dependents(keys, tonumber(ttl), names)
  if wrong then return wrong end
  for i, key in ipairs(keys) do
    if ttl == '' then
      redis.call('SET', key, ARGV[values + i])
    else
      redis.call('SET', key, ARGV[values + i], 'PX', ttl)
    end
  end
  seed = seed + 1
  tidy(keys, grown, seed)
  return 1
end

while ARGV[at] do answers[#answers + 1] = write_group() end
redis.call('HDEL', NAMES.leases, unpack(KEYS))
return answers
