-- Returns the loads that name a key, as members and leases in turns. They stay: who changes the key next has to cancel them
-- too, in case this caller does not, or is slow.
local function watchers_of(watch)
  local watchers = {}
  if redis.call('EXISTS', watch) == 0 then return watchers end
  local found = redis.call('HGETALL', watch)
  for i = 1, #found, 2 do
    local lease, ends = string.match(found[i + 1], '^(%S+) (%d+)$')
    if tonumber(ends) < now then
      redis.call('HDEL', watch, found[i])
    else
      watchers[#watchers + 1] = found[i]
      watchers[#watchers + 1] = lease
    end
  end
  return watchers
end

-- Ends the load of a key. Returns no loads that name the key.
local function end_lease(key, leases)
  if redis.call('HDEL', leases, key) == 1 then announce(leases, key) end
  return {}
end

-- Ends the load of a changed key, and returns the loads that name the key.
local function change(key, leases, watch)
  end_lease(key, leases)
  return watchers_of(watch)
end
