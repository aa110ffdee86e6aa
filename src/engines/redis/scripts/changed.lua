-- What scripts do that change names, before anything else: they end the leases that have these names; see `lease.lua`.
--
-- `NAMES.changed` is the list of all names that change while somebody loads who may find out later what the value depends
-- on. Without such a load there is no list, and nothing is noted. Each of these loads puts a mark of its own into the list
-- when its lease is taken. The list is cut at the front: a load whose mark is gone cannot tell what changed meanwhile.
local most_changed = 16384

local function note_changed(...)
  if redis.call('RPUSHX', NAMES.changed, ...) > most_changed then
    redis.call('LTRIM', NAMES.changed, -most_changed, -1)
  end
end

local function change(...)
  -- First: a server that is full lets a script take up room once it has written what takes none.
  redis.call('HDEL', NAMES.leases, ...)
  note_changed(...)
end
