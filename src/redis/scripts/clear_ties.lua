-- What the steps of a clearing that look at sets have in common. ARGV[5] and ARGV[6]: how a dependency set's name
-- begins and ends.
local depend, close = ARGV[5], ARGV[6]
-- How many members one set may have for a step to look at them at once, and how many of all sets this step has
-- left to look at.
local most, left = 1000, 1000

-- What was noted was lost with the mark.
if marked == 0 then return { '0', 0, 0, {} } end

-- The name that a set is kept for and what kind of set it is, if it is one of ours.
local function named(set)
  if begins(set, depend .. prefix) then return string.sub(set, #depend + 1, -1 - #close), 'depend' end
  for _, kind in ipairs({ 'parents', 'ghosts' }) do
    local open = 'cachestore:' .. kind .. ':{'
    if begins(set, open .. prefix) then return string.sub(set, #open + 1, -2), kind end
  end
end

-- Whether this step may look at all members of a set. One that does not fit leaves the room to smaller ones.
local function affords(set)
  local members = redis.call('SCARD', set)
  if members > left then return false end
  left = left - members
  return true
end

-- What a crash left of an invalidation still leads to what is noted.
local function leads_on(ghosts)
  if redis.call('SCARD', ghosts) > most then return true end
  local members = redis.call('SMEMBERS', ghosts)
  if not members[1] then return false end
  for _, noted in ipairs(redis.call('SMISMEMBER', tied, unpack(members))) do
    if noted == 1 then return true end
  end
  return false
end

local function leads_out(members)
  for _, member in ipairs(members) do
    if not begins(member, prefix) then return true end
  end
  return false
end

-- Notes the name of a dependency set, and those above it.
local function note(set)
  local names = { (named(set)) }
  while names[1] do
    local name = table.remove(names)
    if redis.call('SADD', tied, name) == 1 then
      for _, above in ipairs(redis.call('SMEMBERS', 'cachestore:parents:{' .. name .. '}')) do
        names[#names + 1] = above
      end
    end
  end
end

local function thin_out(set, members)
  if not members[1] then return end
  local noted, gone = redis.call('SMISMEMBER', tied, unpack(members)), {}
  for i, member in ipairs(members) do
    if noted[i] == 0 and begins(member, prefix) then gone[#gone + 1] = member end
  end
  if gone[1] then redis.call('SREM', set, unpack(gone)) end
end
