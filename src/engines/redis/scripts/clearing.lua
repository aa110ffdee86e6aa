-- What the steps of a clearing have in common. ARGV, after how a dependency set's name begins and ends: the clearing's
-- id, the cursor, how many keys to look at, a pattern that all keys of interest match, two arguments of the step, how
-- many prefixes there are, and the prefixes: what the keys to remove begin with, '' for all, a namespace and its
-- colon, or a namespace and its slash for all namespaces inside it. Each step answers the next cursor, how many values it removed for each prefix, whether the clearing was marked without a break, which
-- sets have more members than a step may look at, and the names whose fate is not known, each before how many names
-- decide it and these names.
--
-- A clearing goes several times over what there is. It invalidates leases, removes values, removes the sets that lead to
-- nothing, and invalidates leases again, because a load may have read a value that the clearing had not come to yet.
-- Until then `cachestore:clearing`, a hash, marks it, by what its keys begin with: nothing that is loaded under such a
-- name is stored meanwhile. Sets go after all values, because invalidations need them until then, and by what `tidy.lua`
-- tells: so what is written meanwhile, and what entries of other namespaces depend on, stays.
--
-- A mark lives for a minute from the last step, if who clears is no more. If it has gone before, all begins anew.
local id, cursor, count, pattern = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local marks, minute = NAMES.clearing, 60000
local prefixes, places, parents = {}, {}, {}
for i = 1, ARGV[9] do
  local prefix = ARGV[9 + i]
  prefixes[i] = prefix
  places[prefix] = i
  if string.sub(prefix, -1) == '/' then parents[#parents + 1] = prefix end
end

local function begins(text, with)
  return string.sub(text, 1, #with) == with
end

-- The place among the prefixes of the one that a key has. All prefixes begin with the hash tag of the store's slot, if it
-- has one, and keys of other stores do not.
local tag = NAMES.tag
local only_root = #prefixes == 1 and places[tag]
local function place_of(key)
  if not begins(key, tag) then return nil end
  if only_root then return only_root end
  local namespace = string.match(key, '^[^:]*:', #tag + 1)
  local place = namespace and places[tag .. namespace] or places[tag]
  if place or not namespace then return place end
  for _, parent in ipairs(parents) do
    if begins(key, parent) then return places[parent] end
  end
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
      marked = true
    end
  end
  -- A server that is full lets a script take up room once it has written what takes none.
  redis.call('HDEL', marks, id)
  redis.call('HSET', marks, id, string.format('%.0f ', now + minute) .. table.concat(prefixes, ' '))
  redis.call('PEXPIRE', marks, minute)
  return marked
end

local function unmark()
  redis.call('HDEL', marks, id)
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
