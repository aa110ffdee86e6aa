-- Removes the sets that led to values which have been removed. ARGV[5] and ARGV[6]: how a dependency set's name
-- begins and ends.
local depend, close = ARGV[5], ARGV[6]
local page = redis.call('SCAN', ARGV[3], 'COUNT', ARGV[4], 'TYPE', 'set')
local sets, names = {}, {}

-- The name that a set is kept for, if it is one of ours.
local function named(set)
  for open, shut in pairs({ [depend] = close, ['cachestore:parents:{'] = '}', ['cachestore:ghosts:{'] = '}' }) do
    if begins(set, open .. prefix) then return string.sub(set, #open + 1, -1 - #shut) end
  end
end

-- A dependency set goes with its namespace, but for entries of other namespaces in it. One with more
-- members than a step may look at stays, and expires.
local function goes(set)
  if prefix == '' or not begins(set, depend) then return true end
  if redis.call('SCARD', set) > 1000 then return false end
  local members, own = redis.call('SMEMBERS', set), {}
  for _, member in ipairs(members) do
    if begins(member, prefix) then own[#own + 1] = member end
  end
  if #own == #members then return true end
  if own[1] then redis.call('SREM', set, unpack(own)) end
  return false
end

for _, set in ipairs(page[2]) do
  local name = named(set)
  if name then sets[#sets + 1], names[#names + 1] = set, name end
end
local gone = {}
for i, set in ipairs(sets) do
  if redis.call('SISMEMBER', tied, names[i]) == 0 and goes(set) then gone[#gone + 1] = set end
end
each_thousand(gone, 'UNLINK')
return { page[1], 0, marked }
