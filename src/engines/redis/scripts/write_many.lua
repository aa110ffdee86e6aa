-- Writes entries that depend on names, in groups that have the same TTL and the same names. KEYS: the entries of all
-- groups. ARGV: how a dependency set's name begins and ends, a random number, and runs of groups that look alike: how many
-- they are, their TTL in milliseconds or '', how many names and how many entries each has, the names of all, and the
-- values of all. Returns for each group 1, or why none of it was written.

-- The sets of those names whose sets exist and have no end, each at the place of its name. Two questions for many names, and
-- none for each: what follows finds these sets in the processor's caches, too.
local function endless_sets(names, first, last_name)
  local sets, found = {}, {}
  for i, is_noted in ipairs(redis.call('SMISMEMBER', lasting, unpack(names, first, last_name))) do
    local name = names[first + i - 1]
    if is_noted == 1 then
      local set = set_of(name)
      sets[i], found[#found + 1] = set, set
    else
      sets[i], unnoted[name] = false, true
    end
  end
  return found[1] and redis.call('EXISTS', unpack(found)) == #found and sets or {}
end

-- All keys are registered before the first value is written: if one is refused, so is the whole script, or only its group.
local answers, runs, at, from = {}, {}, 4, 1
while ARGV[at] do
  local groups, ttl, names, entries = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local first_name, value, life, before = at + 4, at + 4 + groups * names, tonumber(ttl), #answers
  -- The client sends 128 groups at most.
  local are_single = names == 1 and entries == 1 and groups > 1
  local sets = are_single and endless_sets(ARGV, first_name, value - 1) or {}
  for g = 1, groups do
    local set, name, wrong = sets[g], first_name + (g - 1) * names, nil
    if set then
      local added = redis.pcall('SADD', set, KEYS[from + g - 1])
      if added == 1 then
        local place = #grown + 1
        grown[place], grown_by[place] = ARGV[name], 1
      elseif added ~= 0 then
        wrong = added
      end
    else
      local key = from + (g - 1) * entries
      wrong = add_dependents(life, KEYS, key, key + entries - 1, ARGV, name, name + names - 1)
    end
    answers[before + g] = wrong or 1
  end
  runs[#runs + 1] = { groups, ttl, entries, value, from, before }
  at, from = value + groups * entries, from + groups * entries
end
for _, run in ipairs(runs) do
  local groups, ttl, entries, value, from, before = unpack(run)
  for g = 1, groups do
    if answers[before + g] == 1 then
      for k = (g - 1) * entries, g * entries - 1 do
        if ttl == '' then
          redis.call('SET', KEYS[from + k], ARGV[value + k])
        else
          redis.call('SET', KEYS[from + k], ARGV[value + k], 'PX', ttl)
        end
      end
    end
  end
end
change(unpack(KEYS))
tidy(ARGV[3])
return answers
