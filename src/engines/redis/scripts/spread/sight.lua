-- The stamp of the slot's last invalidation. A slot without one gets `fresh`: so a server that has lost its data, or never
-- had any, does not look like another.
local kept = 3600000

local function stamp_of(kills, fresh)
  local stamp = redis.call('GET', kills)
  if stamp then return stamp end
  redis.call('SET', kills, fresh, 'PX', kept)
  return fresh
end
