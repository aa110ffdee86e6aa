-- What scripts know of dependencies. ARGV[1] and ARGV[2]: how a dependency set's name begins and ends.
--
-- A *dependency set* holds the dependents of a name. A *parents hash* is the way back, from an entry to the names
-- that it depends on; many entries share one, so that each costs little. Three rules keep every dependent in reach:
--
-- 1. A dependency set lives at least as long as each entry in it, and for ever if one is persistent.
-- 2. A set has no end once one of its members has dependents of its own, or once it has many members, of which the way
--    back would cost too much. Such a set is noted in `cachestore:lasting`.
-- 3. A member leaves its set only with its value, by an invalidation, or when it is dead: it has no value, nobody
--    loads it, and nothing depends on it.
--
-- By rule 2, a dependent that lives long, at the end of a chain however deep, changes no set but the one that it
-- enters. The way back is needed only until the set that it leads to has no end: for one who is given more time, and
-- for one whose first dependent comes.
local depend, close = ARGV[1], ARGV[2]
local lasting = NAMES.lasting
-- A set of more members has no end.
local most_led_back = 32

local function set_of(name)
  return depend .. name .. close
end

local function tombstones_of(name)
  return NAMES.tombstones .. name .. NAMES.close
end

-- The hash that holds a key's parents. There are 65,536: few enough to hold many fields each, so that a field costs
-- less than a key of its own, and enough for eight million entries before the server stores them less compactly.
local function parents_of(key)
  return NAMES.parents .. string.sub(redis.sha1hex(key), 1, 4)
end

-- What is extended gets a hundredth more than it needs: of many writes in a row, most extend nothing.
local function extend(key, left, ttl)
  if left == -2 then
    redis.call('PEXPIRE', key, string.format('%.0f', ttl))
  elseif left < ttl then
    redis.call('PEXPIRE', key, string.format('%.0f', ttl * 1.01))
  end
end

-- What this script has done: names that got new dependents, how many each, how many names it noted, and the parents
-- hashes that it wrote to.
local grown, grown_by, noted, remembered = {}, {}, 0, {}

-- Lets a set that had an end, or that is new, live for ever.
local function keep(name)
  redis.call('PERSIST', set_of(name))
  noted = noted + redis.call('SADD', lasting, name)
end

-- Names of which this script knows that they are not in `cachestore:lasting`.
local unnoted = {}

-- Lets a set live as long as a dependent does, for ever if `ttl` is nil. `left` is its PTTL from before the dependent
-- came in. A new set has no end if its name is in `cachestore:lasting`, because of tombstones or because somebody else has
-- removed the set: `write_many.lua` relies on that.
local function last(name, left, ttl)
  if left == -1 then return end
  local is_noted = left == -2 and ttl and not unnoted[name] and redis.call('SISMEMBER', lasting, name) == 1
  if ttl and not is_noted then
    extend(set_of(name), left, ttl)
  else
    keep(name)
  end
end

local function parents(key)
  local bucket = parents_of(key)
  local packed = redis.call('HGET', bucket, key)
  return packed and cmsgpack.unpack(packed) or {}, bucket
end

-- A name has its first dependent: the sets that it is in have no end from now on.
local function enter_chain(name)
  local above, bucket = parents(name)
  if not above[1] then return end
  for _, parent in ipairs(above) do
    if redis.call('PTTL', set_of(parent)) >= 0 then keep(parent) end
  end
  redis.call('HDEL', bucket, name)
end

-- Remembers the way back from keys whose entries live for `ttl`.
local function remember(keys, from, to, names, ttl)
  local packed = cmsgpack.pack(names)
  for k = from, to do
    local key = keys[k]
    local bucket = parents_of(key)
    remembered[#remembered + 1] = bucket
    local left = redis.call('PTTL', bucket)
    if redis.call('HSETNX', bucket, key, packed) == 0 then
      local held = redis.call('HGET', bucket, key)
      if held ~= packed then
        -- It is in the sets of its former names too, until it leaves them.
        local all, is_new = {}, {}
        for i, name in ipairs(names) do all[i], is_new[name] = name, true end
        for _, name in ipairs(cmsgpack.unpack(held)) do
          if not is_new[name] and redis.call('SISMEMBER', set_of(name), key) == 1 then all[#all + 1] = name end
        end
        redis.call('HSET', bucket, key, cmsgpack.pack(all))
      end
    end
    extend(bucket, left, ttl)
  end
end

-- Takes members out of the set of a name.
local function leave(name, members)
  local set = set_of(name)
  redis.call('SREM', set, unpack(members))
  if redis.call('EXISTS', set) == 0 then redis.call('SREM', lasting, name) end
end

-- Keeps sets that have an end from ending too early for the keys: they lose their end, or the way back is remembered.
local function lead_back(keys, from, to, names, ttl)
  local below = {}
  for k = from, to do below[#below + 1] = set_of(keys[k]) end
  local in_chain = redis.call('EXISTS', unpack(below)) > 0
  local led_back = {}
  for _, name in ipairs(names) do
    if in_chain or redis.call('SCARD', set_of(name)) > most_led_back then
      keep(name)
    else
      led_back[#led_back + 1] = name
    end
  end
  if led_back[1] then remember(keys, from, to, led_back, ttl) end
end

-- Makes `keys[from]` to `keys[to]` dependents of `names[first]` to `names[last_name]`, for as long as `ttl` says. Before
-- their values are written: what fails half way has made too many dependents, and never too few. Returns why it failed.
--
-- Most writes have one key and one name, whose set has no end: these make no table.
local function add_dependents(ttl, keys, from, to, names, first, last_name)
  local before, ending = #grown, nil
  for n = first, last_name do
    local name = names[n]
    local set = set_of(name)
    local left = redis.call('PTTL', set)
    local added = redis.pcall('SADD', set, unpack(keys, from, to))
    if type(added) == 'table' then
      if from == to then
        for i = before + 1, #grown do leave(grown[i], { keys[from] }) end
      end
      return added
    end
    if added > 0 then
      local place = #grown + 1
      grown[place], grown_by[place] = name, added
    end
    if left ~= -1 then
      last(name, left, ttl)
      if left == -2 then enter_chain(name) end
      ending = ending or {}
      ending[#ending + 1] = name
    end
  end
  if ending and ttl then lead_back(keys, from, to, ending, ttl) end
end
