-- What the steps of a clearing have in common. ARGV: the clearing's id, how the keys to remove begin ('' for
-- all), the cursor, and how many keys to look at. Each step answers the next cursor, how many values it removed,
-- whether the clearing was marked without a break, and which sets have more members than a step may look at.
--
-- A clearing goes several times over what there is: it kills what is being loaded, removes values, notes what leads
-- to entries of other namespaces, removes the other sets, and kills what is being loaded again, since that may be
-- made of what it had not come to yet. Until then `cachestore:clearing`, a hash, marks it, by what its keys begin
-- with: nothing that is loaded under such a name is stored meanwhile. And what is written meanwhile with
-- dependencies notes itself and their names in the set `cachestore:tied`: their sets stay. Sets go after all values,
-- because invalidations need them until then.
--
-- Both live for a minute from the last step, if who clears is no more. If they have gone before, all begins anew.
local id, prefix = ARGV[1], ARGV[2]
local marks, tied, minute = 'cachestore:clearing', 'cachestore:tied', 60000

local function begins(text, with)
  return string.sub(text, 1, #with) == with
end

-- Whether it was marked.
local function mark()
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local known = redis.call('HGETALL', marks)
  local marked = false
  for i = 1, #known, 2 do
    if tonumber(string.match(known[i + 1], '^%d+')) <= now then
      redis.call('HDEL', marks, known[i])
    elseif known[i] == id then
      marked = redis.call('SISMEMBER', tied, id) == 1
    end
  end
  if redis.call('EXISTS', marks) == 0 then redis.call('UNLINK', tied) end
  -- A server that is full lets a script take up room once it has written what takes none.
  redis.call('HDEL', marks, id)
  redis.call('HSET', marks, id, string.format('%.0f %s', now + minute, prefix))
  redis.call('SADD', tied, id)
  redis.call('PEXPIRE', marks, minute)
  redis.call('PEXPIRE', tied, minute)
  return marked
end

local function unmark()
  redis.call('HDEL', marks, id)
  redis.call('SREM', tied, id)
  if redis.call('EXISTS', marks) == 0 then redis.call('UNLINK', tied) end
end

-- Removes keys: how many there were. SCAN may answer more keys than asked for, and more than a script's stack holds.
local function unlink(keys)
  local removed = 0
  for from = 1, #keys, 1000 do
    removed = removed + redis.call('UNLINK', unpack(keys, from, math.min(from + 999, #keys)))
  end
  return removed
end

local marked = mark() and 1 or 0
