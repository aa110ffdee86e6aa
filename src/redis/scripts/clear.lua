-- One step of a clearing. ARGV: how a dependency set's name begins and ends, how the keys to remove
-- begin ('' for all), the cursor, and how many keys to look at. Removes the values among them, with
-- what is kept beside them, and kills what is being loaded from the values. Answers the next cursor and how
-- many values were removed.
local depend, close, prefix = ARGV[1], ARGV[2], ARGV[3]
local page = redis.call('SCAN', ARGV[4], 'COUNT', ARGV[5])
local values, beside = {}, {}

local function begins(text, with)
  return string.sub(text, 1, #with) == with
end

-- A dependency set goes with its namespace, but for entries of other namespaces in it. One with more
-- members than a step may look at stays, and expires.
local function tidy(set)
  if prefix ~= '' then
    if redis.call('SCARD', set) > 1000 then return end
    local members, own = redis.call('SMEMBERS', set), {}
    for _, member in ipairs(members) do
      if begins(member, prefix) then own[#own + 1] = member end
    end
    if #own < #members then
      if own[1] then redis.call('SREM', set, unpack(own)) end
      return
    end
  end
  beside[#beside + 1] = set
end

for _, key in ipairs(page[2]) do
  if begins(key, depend .. prefix) then
    if redis.call('TYPE', key).ok == 'set' then tidy(key) end
  elseif begins(key, 'cachestore:parents:{' .. prefix) or begins(key, 'cachestore:ghosts:{' .. prefix) then
    beside[#beside + 1] = key
  end
  if begins(key, prefix) and not begins(key, 'cachestore:') and redis.call('TYPE', key).ok == 'string' then
    values[#values + 1] = key
  end
end

-- SCAN may answer more keys than asked for: not more than a script's stack holds at once.
local function each_thousand(keys, ...)
  local answers = 0
  for from = 1, #keys, 1000 do
    local words = { ... }
    for i = from, math.min(from + 999, #keys) do words[#words + 1] = keys[i] end
    answers = answers + redis.call(unpack(words))
  end
  return answers
end

each_thousand(values, 'HDEL', 'cachestore:leases')
each_thousand(beside, 'UNLINK')
return { page[1], each_thousand(values, 'UNLINK') }
