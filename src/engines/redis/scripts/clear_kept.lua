-- What the steps of a clearing that look at sets have in common. ARGV[7]: a random number.
local seed = tonumber(ARGV[7])
-- How many members one set may have for a step to look at them at once, and how many of all sets this step has
-- left to look at.
local most, left = 1000, 1000
local undecided = {}

-- What a key is kept for: the kind of it, and its name.
local function subject_of(key)
  if begins(key, depend) then return 'depend', string.sub(key, #depend + 1, -1 - #close) end
  if begins(key, NAMES.tombstones) then return 'tombstones', string.sub(key, #NAMES.tombstones + 1, -2) end
  if begins(key, NAMES.parents) then return 'parents' end
end

-- Decides about the set of a name, where its members alone tell.
local function look_at(name, set, members)
  if not members[1] then return end
  local found = lifeless(members)
  local dead, inner = parted(found)
  if set == set_of(name) then
    if dead[1] then leave(name, dead) end
  elseif not select(2, parted(members))[1] then
    -- Tombstones are kept for what is below them.
    redis.call('UNLINK', set)
    if redis.call('EXISTS', set_of(name)) == 0 then redis.call('SREM', lasting, name) end
  end
  if #found == #members and inner[1] then
    undecided[#undecided + 1] = name
    undecided[#undecided + 1] = #inner
    for _, member in ipairs(inner) do undecided[#undecided + 1] = member end
  end
end
