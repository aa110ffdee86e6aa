-- What scripts do that change names, before anything else: they end the leases that have these names; see `lease.lua`.
--
-- `NAMES.changed` is the list of all names that change while somebody loads who may find out later what the value depends
-- on. Without such a load there is no list, and nothing is noted. Each of these loads puts a mark of its own into the list
-- when its lease is taken. The list is cut at the front: a load whose mark is gone cannot tell what changed meanwhile.
--
-- Strangers may choose long names, and the list has to stay small. So a name of more than `longest_noted` bytes is noted
-- as '', which is no key. A load with such a name cannot tell which of them changed.
local most_changed = 16384
local longest_noted = 256

-- A name as it is noted.
local function noted_as(name)
  return #name > longest_noted and '' or name
end

local function note_changed(...)
  if redis.call('EXISTS', NAMES.changed) == 0 then return end
  local names = { ... }
  for i, name in ipairs(names) do names[i] = noted_as(name) end
  if redis.call('RPUSHX', NAMES.changed, unpack(names)) > most_changed then
    redis.call('LTRIM', NAMES.changed, -most_changed, -1)
  end
end

local function change(...)
  -- First: a server that is full lets a script take up room once it has written what takes none.
  redis.call('HDEL', NAMES.leases, ...)
  note_changed(...)
end
