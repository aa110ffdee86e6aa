-- One step of the end of an invalidation: removes the tombstones below which nothing is left. ARGV: how a dependency
-- set's name begins and ends, how many tombstones to look at, the cursor to go on from in the first name's tombstones,
-- '1' if no names are left for other steps, and the names, those below first. Answers how many of the names are done,
-- and the cursor to go on from.
--
-- Other invalidations may have left tombstones of the same names, or may be between two steps. Those lead to what is
-- still to be removed, so they stay. Where one step does not see all names, the tombstones of a cycle may be in several
-- steps. Then only a tombstone with dependents, and those above it in the same step, count as leading to something.
local limit, cursor = tonumber(ARGV[3]), ARGV[4]
local names, tombstones = {}, {}
local taken, next_cursor = 0, '0'
-- The names of which all tombstones are known.
local is_whole = {}

for i = 6, #ARGV do
  local name = ARGV[i]
  local size = is_whole[name] and 0 or redis.call('SCARD', tombstones_of(name))
  if size > limit then
    if names[1] then break end
    local page = redis.call('SSCAN', tombstones_of(name), cursor, 'COUNT', limit)
    names[1], tombstones[name], next_cursor = name, page[2], page[1]
    if next_cursor == '0' then taken = 1 end
    break
  end
  limit = limit - size
  taken = taken + 1
  if not is_whole[name] then
    is_whole[name] = true
    names[#names + 1] = name
    tombstones[name] = size > 0 and redis.call('SMEMBERS', tombstones_of(name)) or {}
  end
end

local sees_all = ARGV[5] == '1' and taken == #ARGV - 5

-- Which keys lead to something, and which of the names have them as a tombstone.
local leads, above, leading = {}, {}, {}
local function lead(key)
  if leads[key] then return end
  leads[key] = true
  leading[#leading + 1] = key
end

for _, name in ipairs(names) do
  for _, tombstone in ipairs(tombstones[name]) do
    if not above[tombstone] then
      above[tombstone] = {}
      if redis.call('EXISTS', set_of(tombstone)) == 1 then
        lead(tombstone)
      elseif sees_all and not is_whole[tombstone] and redis.call('EXISTS', tombstones_of(tombstone)) == 1 then
        lead(tombstone)
      end
    end
    table.insert(above[tombstone], name)
  end
end
-- What is above them leads there too. The tombstones of a cycle that leads to nothing else are left out.
for _, key in ipairs(leading) do
  for _, name in ipairs(above[key] or {}) do lead(name) end
end

for _, name in ipairs(names) do
  local done = {}
  for _, tombstone in ipairs(tombstones[name]) do
    if not leads[tombstone] then done[#done + 1] = tombstone end
  end
  for i = 1, #done, 1000 do
    redis.call('SREM', tombstones_of(name), unpack(done, i, math.min(i + 999, #done)))
  end
  if redis.call('EXISTS', set_of(name), tombstones_of(name)) == 0 then redis.call('SREM', lasting, name) end
end
return { taken, next_cursor }
