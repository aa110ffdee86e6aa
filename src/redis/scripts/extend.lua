-- Lets the sets that lead to an entry, or to what is loaded, live at least as long as that does.
--
-- A dependency set holds who depends on a name. A parents set holds the names that an entry depends
-- on: the way back, for when the entry, or what is derived from it, lives longer than was known.
-- Wherever a set need not be extended, those above it live long enough already.
local depend, parents, close = ARGV[1], 'cachestore:parents:{', ARGV[2]

-- `ttl` is in milliseconds, nil for ever. Whether the key had to be extended.
local function extend(key, ttl, fresh)
  local left = redis.call('PTTL', key)
  if fresh then
    if ttl then redis.call('PEXPIRE', key, string.format('%.0f', ttl)) end
    return true
  end
  if left == -2 or left == -1 then return false end
  if not ttl then
    redis.call('PERSIST', key)
    return true
  end
  if left < ttl then
    redis.call('PEXPIRE', key, string.format('%.0f', ttl))
    return true
  end
  return false
end

-- Goes up from `names`, each of which has just been extended to `ttl`.
local function extend_above(names, ttl)
  local seen, at = {}, 1
  while names[at] do
    local name = names[at]
    at = at + 1
    if not seen[name] then
      seen[name] = true
      local above = redis.call('SMEMBERS', parents .. name .. '}')
      if above[1] then extend(parents .. name .. '}', ttl, false) end
      for _, next_name in ipairs(above) do
        if extend(depend .. next_name .. close, ttl, false) then names[#names + 1] = next_name end
      end
    end
  end
end

-- The longer of an entry's TTL and that of what depends on it.
local function longest(key, ttl)
  local left = redis.call('PTTL', depend .. key .. close)
  if left == -1 or not ttl then return nil end
  if left > ttl then return left end
  return ttl
end

-- Which of the names' dependency sets are new: it is asked before anything is changed. What is no set fails
-- the script.
local function look(names)
  local fresh = {}
  for i, name in ipairs(names) do
    local kind = redis.call('TYPE', depend .. name .. close).ok
    if kind ~= 'none' and kind ~= 'set' then
      return nil, redis.error_reply('WRONGTYPE a dependency set is no set')
    end
    fresh[i] = kind == 'none'
  end
  return fresh
end

-- Makes a key a dependent of the names, for as long as it lives and what depends on it. Those whose dependent
-- it was not.
local function tie(key, ttl, names, fresh)
  local added = {}
  if not names[1] then return added end
  local whole = longest(key, ttl)
  local extended = {}
  local mine = parents .. key .. '}'
  local fresh_mine = redis.call('EXISTS', mine) == 0
  for i, name in ipairs(names) do
    local to = depend .. name .. close
    if redis.call('SADD', to, key) == 1 then added[#added + 1] = name end
    redis.call('SADD', mine, name)
    if extend(to, whole, fresh[i]) then extended[#extended + 1] = name end
  end
  extend(mine, whole, fresh_mine)
  extend_above(extended, whole)
  return added
end
