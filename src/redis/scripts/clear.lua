-- One step of a clearing. ARGV: how a dependency set's name begins and ends, how the keys to remove
-- begin ('' for all), the cursor, and how many keys to look at. Removes the values among them, with
-- what is kept beside them. Answers the next cursor and how many values were removed.
local depend, close, prefix = ARGV[1], ARGV[2], ARGV[3]
local page = redis.call('SCAN', ARGV[4], 'COUNT', ARGV[5])
local values, beside = {}, {}

local function begins(text, with)
  return string.sub(text, 1, #with) == with
end

for _, key in ipairs(page[2]) do
  if begins(key, depend .. prefix) or begins(key, 'cachestore:parents:{' .. prefix)
    or begins(key, 'cachestore:ghosts:{' .. prefix) then
    if redis.call('TYPE', key).ok == 'set' then
      beside[#beside + 1] = key
    end
  end
  if begins(key, prefix) and not begins(key, 'cachestore:') and redis.call('TYPE', key).ok == 'string' then
    values[#values + 1] = key
  end
end

-- SCAN may answer more keys than asked for: not more than a script's stack holds at once.
local function remove(keys)
  local removed = 0
  for from = 1, #keys, 1000 do
    removed = removed + redis.call('UNLINK', unpack(keys, from, math.min(from + 999, #keys)))
  end
  return removed
end

remove(beside)
return { page[1], remove(values) }
