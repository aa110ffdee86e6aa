-- Writes entries that depend on names, in groups that have the same TTL and the same names. KEYS: the entries of all
-- groups. ARGV: how a dependency set's name begins and ends, a random number, and for each group: the TTL in milliseconds
-- or '', how many names there are, the names, how many entries there are, and their values. Returns for each group 1, or
-- why none of it was written.
local answers, at, from = {}, 4, 1
while ARGV[at] do
  local ttl, last_name = ARGV[at], at + 1 + ARGV[at + 1]
  local to = from + ARGV[last_name + 1] - 1
  local wrong = add_dependents(tonumber(ttl), KEYS, from, to, ARGV, at + 2, last_name)
  local value = last_name + 2
  for k = from, wrong and 0 or to do
    if ttl == '' then
      redis.call('SET', KEYS[k], ARGV[value + k - from])
    else
      redis.call('SET', KEYS[k], ARGV[value + k - from], 'PX', ttl)
    end
  end
  answers[#answers + 1] = wrong or 1
  at, from = value + to - from + 1, to + 1
end
change(unpack(KEYS))
tidy(ARGV[3])
return answers
