-- What scripts know of dead members of dependency sets: those that have no value, that nobody loads, and on which
-- nothing depends. Each write looks at a few members at random: at more than it adds, so that most members of a set
-- are alive.

-- Those of the keys that have no value, and that nobody loads.
local function lifeless(keys)
  local alive = redis.call('EXISTS', unpack(keys))
  if alive == #keys then return {} end
  local empty = {}
  for _, key in ipairs(keys) do
    if alive == 0 or redis.call('EXISTS', key) == 0 then empty[#empty + 1] = key end
  end
  for _, loading in ipairs({ NAMES.leases, NAMES.given }) do
    if empty[1] and redis.call('EXISTS', loading) == 1 then
      local time = redis.call('TIME')
      local now = time[1] * 1000 + math.floor(time[2] / 1000)
      local found = {}
      for i, known in ipairs(redis.call('HMGET', loading, unpack(empty))) do
        local ends = known and tonumber(string.match(known, '^%d+'))
        if not ends or ends <= now then found[#found + 1] = empty[i] end
      end
      empty = found
    end
  end
  return empty
end

-- Of keys without life, those on which nothing depends, and the others.
local function parted(keys)
  local below = {}
  for i, key in ipairs(keys) do
    below[2 * i - 1], below[2 * i] = set_of(key), tombstones_of(key)
  end
  if not keys[1] or redis.call('EXISTS', unpack(below)) == 0 then return keys, {} end
  local dead, inner = {}, {}
  for i, key in ipairs(keys) do
    local into = redis.call('EXISTS', below[2 * i - 1], below[2 * i]) == 0 and dead or inner
    into[#into + 1] = key
  end
  return dead, inner
end

-- As many of a page as there shall be, from a place on that changes.
local function some_of(page, most, seed)
  if #page <= most then return page end
  local some, from = {}, seed % #page
  for i = 1, most do some[i] = page[(from + i) % #page + 1] end
  return some
end

-- Takes dead members out of the set of a name. An invalidation of the name does not reach them any more, nor a load that
-- has read them and does not say so yet: for that load they count as changed.
local function take_out(name, dead)
  leave(name, dead)
  note_changed(unpack(dead))
end

-- Takes the dead among some members out of the set of a name. Returns `true` if there are any.
local function thin_out(name, members)
  if not members[1] then return false end
  local dead = parted(lifeless(members))
  if dead[1] then take_out(name, dead) end
  return dead[1] ~= nil
end

-- The dead need no way back. Returns `true` if there are any.
local function thin_out_parents(bucket, keys)
  if not keys[1] then return false end
  local found = lifeless(keys)
  if found[1] then redis.call('HDEL', bucket, unpack(found)) end
  return found[1] ~= nil
end

-- Removes the sets of a name and of those below it if no member has life, however far down. Else takes the dead out
-- of the name's sets. Looks at `most` of its own members at most, wherever `seed` leads to, and at `deep` of those
-- below. Returns how many it has looked at.
local function reap(name, most, deep, seed)
  local names, seen, looked = { name }, { [name] = true }, 0
  local sets = {}
  for _, each in ipairs(names) do
    for _, set in ipairs({ set_of(each), tombstones_of(each) }) do
      local size = redis.call('SCARD', set)
      if size > most and each == name then
        local page = some_of(redis.call('SSCAN', set, seed, 'COUNT', most)[2], most, seed)
        if set == set_of(name) then
          thin_out(name, page)
        else
          -- Tombstones are kept for what is below them.
          local done = parted(page)
          if done[1] then redis.call('SREM', set, unpack(done)) end
        end
        return looked + most
      end
      if each ~= name then deep = deep - size end
      if size > most or deep < 0 then return looked end
      if size > 0 then
        looked = looked + size
        sets[#sets + 1] = set
        local members = redis.call('SMEMBERS', set)
        local found = lifeless(members)
        local dead, inner = parted(found)
        if #found < #members then
          if set == set_of(name) and dead[1] then take_out(name, dead) end
          return looked
        end
        if members[1] then note_changed(unpack(members)) end
        for _, member in ipairs(inner) do
          if not seen[member] then
            seen[member] = true
            names[#names + 1] = member
          end
        end
      end
    end
  end
  if sets[1] then redis.call('UNLINK', unpack(sets)) end
  redis.call('SREM', lasting, unpack(names))
  return looked
end

-- Takes the dead out of the set of a name, as far as it looks: at more, the more there are.
local function thin_out_some(name, some, place)
  for _, count in ipairs({ some, 64 * some }) do
    local page = redis.call('SSCAN', set_of(name), place, 'COUNT', count)[2]
    if not thin_out(name, some_of(page, math.min(count, 1000), place)) then return end
  end
end

-- Looks around after writes. For each 64 keys that came into sets it looks at eight members of one of them, or at 512
-- where it finds a dead one: most of the cost is that of a look, however little it sees. For each eight ways back that
-- were remembered it looks at two. And one script in two looks at four names for each that was noted.
local function look_around(seed)
  local turn, place = seed % 64, math.floor(seed / 64)
  for i = 1, #grown do
    if (turn + i) % 64 < grown_by[i] then thin_out_some(grown[i], math.ceil(math.max(grown_by[i], 64) / 8), place) end
  end
  for i = turn % 8 + 1, #remembered, 8 do
    for _, count in ipairs({ 2, 32 }) do
      if not thin_out_parents(remembered[i], redis.call('HRANDFIELD', remembered[i], count)) then break end
    end
  end
  local some = turn % 2 == 0 and math.min(4 * noted, 256) or 0
  noted = 0
  -- What was noted long ago may be dead by now.
  if turn == 0 then some = math.max(some, 1) end
  if some == 0 then return end
  local page = redis.call('SSCAN', lasting, place, 'COUNT', some)[2]
  -- The low bits of a cursor say where SSCAN begins. With the same place in both sets, a name would only ever be found
  -- together with the same few of its members.
  local inside = place + math.floor(place / 16384)
  for _, name in ipairs(some_of(page, some, place)) do reap(name, 32, 32, inside) end
end

-- The writes have been made: what fails here must not make it look as if they had failed.
local function tidy(seed)
  if grown[1] then pcall(look_around, tonumber(seed)) end
end
