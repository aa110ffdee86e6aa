-- One step of the end of an invalidation: removes the tombstones below which nothing is left. ARGV: how a dependency
-- set's name begins and ends, how many tombstones to look at, the cursor to go on from in the first name's tombstones,
-- '2' if these are all names, '1' if they are the last of them and else '0', the invalidation's id, '1' if no other
-- invalidation has drained since this one began, and the names, those below first. Answers how many of the names are
-- done, and the cursor to go on from.
--
-- Other invalidations may have left tombstones of the same names, or may be between two steps. Those lead to what is
-- still to be removed, so they stay.
--
-- Where one step does not see all names, a tombstone of one step may have tombstones in another. If another invalidation
-- has drained meanwhile, these may be its own, so that the tombstone counts as leading to something. If none has, all of
-- them have been drained by this one. Then only a tombstone with dependents, and those above it in the same step, count
-- as leading to something: so a cycle through several steps goes.
local limit, cursor = tonumber(ARGV[3]), ARGV[4]
local names, tombstones = {}, {}
local taken, next_cursor = 0, '0'
-- The names of which all tombstones are known.
local is_whole = {}

for i = 8, #ARGV do
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

local is_end = taken == #ARGV - 7 and ARGV[5] ~= '0'
local sees_all = is_end and ARGV[5] == '2'
local is_own = redis.call('GET', NAMES.draining) == ARGV[6]
local is_alone = is_own and ARGV[7] == '1'

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
      elseif sees_all or not is_alone then
        if not is_whole[tombstone] and redis.call('EXISTS', tombstones_of(tombstone)) == 1 then lead(tombstone) end
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
if is_end then
  if is_own then redis.call('DEL', NAMES.draining) end
elseif is_own then
  redis.call('PEXPIRE', NAMES.draining, 60000)
end
return { taken, next_cursor }
