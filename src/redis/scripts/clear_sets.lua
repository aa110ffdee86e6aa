-- Removes the sets that led to values which have been removed. ARGV[5] and ARGV[6]: how a dependency set's name
-- begins and ends. What is noted in `cachestore:tied` stays, and loses only members that are not.
local kinds = {
  { ARGV[5], ARGV[6] },
  { 'cachestore:parents:{', '}' },
  { 'cachestore:ghosts:{', '}' },
}
local page = redis.call('SCAN', ARGV[3], 'COUNT', ARGV[4], 'TYPE', 'set')

-- The name that a set is kept for, if it is one of ours.
local function named(set)
  for _, kind in ipairs(kinds) do
    local open, close = kind[1], kind[2]
    if begins(set, open .. prefix) then return string.sub(set, #open + 1, -1 - #close) end
  end
end

-- One with more members than a step may look at keeps them, and expires.
local function thin_out(set)
  if redis.call('SCARD', set) > 1000 then return end
  local members, gone = redis.call('SMEMBERS', set), {}
  local noted = redis.call('SMISMEMBER', tied, unpack(members))
  for i, member in ipairs(members) do
    if noted[i] == 0 and begins(member, prefix) then gone[#gone + 1] = member end
  end
  if gone[1] then redis.call('SREM', set, unpack(gone)) end
end

local gone = {}
for _, set in ipairs(page[2]) do
  local name = named(set)
  if name and redis.call('SISMEMBER', tied, name) == 0 then
    gone[#gone + 1] = set
  elseif name and begins(set, ARGV[5]) then
    thin_out(set)
  end
end
each_thousand(gone, 'UNLINK')
return { page[1], 0, marked }
