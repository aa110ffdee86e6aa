-- Removes the sets that led to values which have been removed. What is noted in `cachestore:tied` stays, and loses
-- only members that are not.
local page = redis.call('SCAN', ARGV[3], 'COUNT', ARGV[4], 'TYPE', 'set')
local gone, large = {}, {}

-- What a crash left of an invalidation still leads to what is noted.
local function leads_on(ghosts)
  if redis.call('SCARD', ghosts) > most then return true end
  for _, noted in ipairs(redis.call('SMISMEMBER', tied, unpack(redis.call('SMEMBERS', ghosts)))) do
    if noted == 1 then return true end
  end
  return false
end

for _, set in ipairs(page[2]) do
  local name, kind = named(set)
  if not name then
    -- None of ours.
  elseif redis.call('SISMEMBER', tied, name) == 0 then
    if kind ~= 'ghosts' or not leads_on(set) then gone[#gone + 1] = set end
  elseif kind ~= 'depend' then
    -- It stays as it is.
  elseif redis.call('SCARD', set) > most then
    large[#large + 1] = set
  else
    thin_out(set, redis.call('SMEMBERS', set))
  end
end
each_thousand(gone, 'UNLINK')
return { page[1], 0, marked, large }
