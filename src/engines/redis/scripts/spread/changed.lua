-- Ends the load of a changed key, and returns the loads that name the key, as members and leases in turns.
local function change(key, leases, watch)
  if redis.call('HDEL', leases, key) == 1 then redis.pcall('PUBLISH', NAMES.lease .. key .. '}', '') end
  if redis.call('EXISTS', watch) == 0 then return {} end
  local watchers = redis.call('HGETALL', watch)
  redis.call('DEL', watch)
  return watchers
end
