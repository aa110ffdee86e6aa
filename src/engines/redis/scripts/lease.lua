-- What scripts know of leases. KEYS[1] is the key that is loaded.
--
-- `cachestore:lease:{key}` tells who loads a key: a token, the names that the lease has, its own key first, and
-- each name's stamp. It lives as long as the lease may. `cachestore:leases` is one hash for all names that
-- leases have: when the last of them ends, in milliseconds by this server's clock, how many they are, and the
-- stamp. A lease lives while its names have the stamps that it saw. So whatever changes a name
-- invalidates all leases that have it by removing one field, which costs next to nothing where there is none.
--
-- A key that is loaded is in the dependency sets of its names as an entry is, for as long as the lease may
-- live. So an invalidation finds what is made from it meanwhile, though it is not stored yet, or never, and its
-- own lease has ended; see `depend.lua`.
--
-- A lease whose value may turn out to depend on further names has `NAMES.changed` as one more name, and `mark`, which is
-- its place in that list; see `changed.lua`. `refused` tells how much the server had refused by then.
local leases, given_out, own = NAMES.leases, NAMES.given, NAMES.lease .. KEYS[1] .. NAMES.close

-- What is known of a name: when its last lease ends, how many there are, and the stamp.
local function known(name)
  local field = redis.call('HGET', leases, name)
  if not field then return 0, 0, nil end
  local ends, count, stamp = string.match(field, '^(%d+) (%d+) (.*)$')
  return tonumber(ends), tonumber(count), stamp
end

local function know(name, ends, count, stamp)
  redis.call('HSET', leases, name, string.format('%.0f %.0f %s', ends, count, stamp))
end

-- Who loads the key.
local function lease_of()
  local packed = redis.call('GET', own)
  return packed and cmsgpack.unpack(packed)
end

local function lives(lease)
  for i, name in ipairs(lease.names) do
    local _, _, stamp = known(name)
    if stamp ~= lease.stamps[i] then return false end
  end
  return true
end

-- Whether one of the names is under a clearing that goes on; see `clearing.lua`.
local function is_cleared(names)
  local marks = redis.call('HVALS', NAMES.clearing)
  if not marks[1] then return false end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  for _, mark in ipairs(marks) do
    local ends, prefixes = string.match(mark, '^(%d+)(.*)$')
    if tonumber(ends) > now then
      for prefix in string.gmatch(prefixes, ' ([^ ]*)') do
        for _, name in ipairs(names) do
          if string.sub(name, 1, #prefix) == prefix then return true end
        end
      end
    end
  end
  return false
end

-- How many commands the server has refused for want of memory, as text. nil if the server does not tell. A full server
-- refuses the command that notes a change, but not a plain command behind it that deletes the key.
local function refusals()
  local errors = redis.pcall('INFO', 'errorstats')
  return type(errors) == 'string' and (string.match(errors, 'errorstat_OOM:count=(%d+)') or '0') or nil
end

-- Those of the names that the value depends on which a lease does not have.
local function late_names(lease, names)
  local has, late = {}, {}
  for _, name in ipairs(lease.names) do has[name] = true end
  for _, name in ipairs(names) do
    if not has[name] then late[#late + 1] = name end
  end
  return late
end

-- Whether one of these names may have changed since the lease was taken.
local function may_have_changed(lease, late)
  if not late[1] then return false end
  local place = lease.mark and redis.call('LPOS', NAMES.changed, lease.mark, 'RANK', -1)
  if not place or not lease.refused or lease.refused ~= refusals() then return true end
  local is_late = {}
  for _, name in ipairs(late) do is_late[noted_as(name)] = true end
  for _, name in ipairs(redis.call('LRANGE', NAMES.changed, place + 1, -1)) do
    if is_late[name] then return true end
  end
  return is_cleared(late)
end

-- Whether what a lease has loaded may be stored.
local function may_store(lease)
  return lives(lease) and not is_cleared(lease.names)
end

-- Ends a lease. Only the dependency sets still tell of it.
local function drop_lease(lease)
  -- First: a server that is full lets a script take up room once it has written what takes none.
  redis.call('DEL', own)
  for i, name in ipairs(lease.names) do
    local ends, count, stamp = known(name)
    if stamp == lease.stamps[i] then
      if count > 1 then
        know(name, ends, count - 1, stamp)
      else
        redis.call('HDEL', leases, name)
        -- Nobody else wants to know what changes.
        if name == NAMES.changed then redis.call('DEL', name) end
      end
    end
  end
end

-- A value was given out that is not stored: somebody may still make something from it, for as long as the lease had
-- left to live. Until then its key counts as being loaded; see `tidy.lua`.
local function note_given(left)
  if left <= 0 then return end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  -- With each that comes, two are looked at, and go if they have ended.
  for _, key in ipairs(redis.call('HRANDFIELD', given_out, 2)) do
    if tonumber(redis.call('HGET', given_out, key)) <= now then redis.call('HDEL', given_out, key) end
  end
  redis.call('HSET', given_out, KEYS[1], string.format('%.0f', now + left))
  if redis.call('PTTL', given_out) < left then redis.call('PEXPIRE', given_out, string.format('%.0f', left)) end
end

-- A value was given out that is not stored. Who loads from this key may have seen it, and what that depends on
-- may have changed: all that stays is another's lease, with a stamp of its own. The value depends on `names`.
local function disown(lease, alive, names)
  local left = redis.call('PTTL', own)
  if alive then
    local ends, _, stamp = known(KEYS[1])
    change(KEYS[1])
    lease.stamps[1], lease.added = stamp .. '+', {}
    know(KEYS[1], ends, 1, lease.stamps[1])
    redis.call('SET', own, cmsgpack.pack(lease), 'KEEPTTL')
  else
    if lease then drop_lease(lease) end
    change(KEYS[1])
  end
  if left <= 0 then return end
  -- What ended the lease may have taken the key out of its sets.
  local others = {}
  for _, name in ipairs(names) do
    if name ~= KEYS[1] then others[#others + 1] = name end
  end
  add_dependents(left, KEYS, 1, 1, others, 1, #others)
  note_given(left)
end

-- Who may not publish may still end a lease.
local function announce()
  redis.pcall('PUBLISH', own, '')
end
