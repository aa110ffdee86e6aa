-- KEYS: the key. ARGV: how a dependency set's name begins and ends, the token, whether something was given out ('1'),
-- which is not stored, and the names that it depends on.
local key, given, names = KEYS[1], ARGV[4] == '1', {}
for i = 5, #ARGV do names[i - 4] = ARGV[i] end
local lease = lease_of()
local mine = lease and lease.token == ARGV[3]
local alive = lease and may_store(lease)
local late = mine and late_names(lease, names) or {}
if mine and alive and given and may_have_changed(lease, late) then alive = false end

-- Nobody was given anything, and nobody else has written the key meanwhile: what the lease has added to the
-- dependency sets leads to nothing, unless there is something below.
local function untie()
  local _, _, stamp = known(key)
  if stamp ~= lease.stamps[1] then return end
  if redis.call('EXISTS', key, set_of(key), tombstones_of(key)) > 0 then return end
  for _, name in ipairs(lease.added) do leave(name, { key }) end
  -- What was given out before may still lead back.
  if not redis.call('HGET', given_out, key) then redis.call('HDEL', parents_of(key), key) end
end

if given and not (mine and alive) then
  disown(lease, alive, names)
elseif mine then
  if not given then untie() end
  local left = redis.call('PTTL', own)
  drop_lease(lease)
  if given then
    -- An invalidation of these finds what is made from it.
    if left > 0 then add_dependents(left, KEYS, 1, 1, late, 1, #late) end
    note_given(left)
    -- The sets name the key only until the lease would have ended. A load that has read the value may run longer, so the key
    -- counts as changed too.
    if names[1] then note_changed(key) end
  end
end
announce()
return 1
