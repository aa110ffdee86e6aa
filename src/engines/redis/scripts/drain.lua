-- One step of an invalidation. ARGV: how a dependency set's name begins and ends, how many dependents to look at
-- at most, '1' if an earlier step has begun with the first name, '1' if the keys of what is removed are asked for, '1' if
-- other steps follow whatever this one finds, the invalidation's id, and the names. Answers how many entries were
-- removed; how many of the names were looked at; 1 if the last of these has more dependents; the names that have
-- tombstones; the names whose tombstones do not fit into a step, each with the cursor to go on from; the members
-- whose own dependents must go too; the keys of the removed entries, if they are asked for; and 1 if no invalidation
-- but this one was the last to drain, 2 if none was lately, 0 if another one was.
--
-- An entry leaves its sets together with its life, in this one script. If it has dependents of its own, it is kept
-- as a tombstone of the name until all that is below has been drained, so that another invalidation of the name, at the
-- same time or after a crash, still finds them.
--
-- The loads of the names and of their dependents end with them, in this one script too.
--
-- `NAMES.draining` is the id of the invalidation that drained last and had not ended then. By it an invalidation learns
-- that another may have left tombstones where it had looked already; see `drained.lua`.
local left, begun, id = tonumber(ARGV[3]), ARGV[4] == '1', ARGV[7]
local limit = left
local names, tombstones = {}, {}
for i = 8, #ARGV do
  names[#names + 1] = ARGV[i]
  tombstones[#tombstones + 1] = tombstones_of(ARGV[i])
end

change(unpack(names))

local taken = 0
local marked, unread, cascade = {}, {}, {}
-- The members to remove, and the place of the name that led to each.
local members, owners = {}, {}
-- Sets that go with all their members, and the one set that does not fit: from which of the members on.
local gone, gone_names, cut, cut_from = {}, {}, nil, nil

local is_marked = {}
local function mark(name)
  if not is_marked[name] then
    is_marked[name] = true
    marked[#marked + 1] = name
  end
end

-- What other invalidations have left, or are still removing: their tombstones lead to what is this one's to remove too.
local any_tombstones = redis.call('EXISTS', unpack(tombstones)) > 0
local function read_tombstones(i)
  if not any_tombstones or redis.call('EXISTS', tombstones[i]) == 0 then return end
  mark(names[i])
  local page = redis.call('SSCAN', tombstones[i], 0, 'COUNT', limit)
  for _, tombstone in ipairs(page[2]) do cascade[#cascade + 1] = tombstone end
  if page[1] ~= '0' then
    unread[#unread + 1] = names[i]
    unread[#unread + 1] = page[1]
  end
  left = left - #page[2]
end

for i, name in ipairs(names) do
  if left <= 0 then break end
  taken = i
  local is_rest = begun and i == 1
  if not is_rest then read_tombstones(i) end
  local set = set_of(name)
  local found = left > 0 and redis.call('SRANDMEMBER', set, left) or {}
  for _, member in ipairs(found) do
    members[#members + 1] = member
    owners[#members] = i
  end
  if #found < left then
    if found[1] then
      gone[#gone + 1] = set
      gone_names[#gone_names + 1] = name
    end
    left = left - #found
    -- Since the first step, another invalidation may have taken members out of this set.
    if is_rest then read_tombstones(i) end
  else
    cut, cut_from = set, #members - #found + 1
    left = 0
  end
end

local below = {}
for i, member in ipairs(members) do
  below[2 * i - 1], below[2 * i] = set_of(member), tombstones_of(member)
end

-- Keeps a member as a tombstone of the name that led to it if there is anything below. Tombstones have no end, because what
-- is below may be given more time.
local function keep_tombstone(i, member)
  if redis.call('EXISTS', below[2 * i - 1], below[2 * i]) == 0 then return end
  cascade[#cascade + 1] = member
  mark(names[owners[i]])
  redis.call('SADD', tombstones[owners[i]], member)
  redis.call('PERSIST', tombstones[owners[i]])
end

local removed, more, told = 0, 0, {}
if members[1] then
  -- Before any set is changed: one of the members may be one of the names.
  if redis.call('EXISTS', unpack(below)) > 0 then
    for i, member in ipairs(members) do keep_tombstone(i, member) end
  end
  change(unpack(members))
  local unlinked = unlink_all(members, ARGV[5] == '1')
  removed, told = unlinked[1], unlinked[2]
  for _, member in ipairs(members) do redis.call('HDEL', parents_of(member), member) end
  if gone[1] then
    redis.call('UNLINK', unpack(gone))
    redis.call('SREM', lasting, unpack(gone_names))
  end
end
if cut then
  if cut_from <= #members then redis.call('SREM', cut, unpack(members, cut_from)) end
  more = redis.call('EXISTS', cut)
  if more == 0 then redis.call('SREM', lasting, names[taken]) end
  -- The tombstones are to be read once more behind the last of the members.
  if begun and taken == 1 then more = 1 end
end
-- Last, for a name without members is not there any more: so `tidy.lua` finds the tombstones that a crash leaves.
if marked[1] then redis.call('SADD', lasting, unpack(marked)) end

local last = redis.call('GET', NAMES.draining)
if marked[1] or more == 1 or taken < #names or ARGV[6] == '1' then
  redis.call('SET', NAMES.draining, id, 'PX', 60000)
elseif last == id then
  redis.call('DEL', NAMES.draining)
end
return { removed, taken, more, marked, unread, cascade, told, last == id and 1 or last and 0 or 2 }
