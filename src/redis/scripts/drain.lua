-- One step of an invalidation. ARGV: how a dependency set's name begins and ends, how many dependents to look at
-- at most, '1' if an earlier step has begun with the first name, and the names. Answers how many entries were
-- removed; how many of the names were looked at; 1 if the last of these has more dependents; the names that have
-- ghosts; the names whose ghosts do not fit into a step, each with the cursor to go on from; and the members
-- whose own dependents must go too.
--
-- An entry leaves its sets together with its life, in this one script. If it has dependents of its own, it is kept
-- as a ghost of the name until all that is below has been drained, so that an invalidation of the name after a
-- crash still finds them.
--
-- The loads of the names and of their dependents end with them, in this one script too.
local left, begun = tonumber(ARGV[3]), ARGV[4] == '1'
local limit = left
local names, ghosts = {}, {}
for i = 5, #ARGV do
  names[#names + 1] = ARGV[i]
  ghosts[#ghosts + 1] = ghosts_of(ARGV[i])
end

-- First: a server that is full lets a script take up room once it has written what takes none.
redis.call('HDEL', NAMES.leases, unpack(names))

local taken = 0
local haunted, unread, cascade = {}, {}, {}
-- The members to remove, and the place of the name that led to each.
local members, owners = {}, {}
-- Sets that go with all their members, and the one set that does not fit: from which of the members on.
local gone, gone_names, cut, cut_from = {}, {}, nil, nil

local is_haunted = {}
local function haunt(name)
  if not is_haunted[name] then
    is_haunted[name] = true
    haunted[#haunted + 1] = name
  end
end

local any_ghosts = redis.call('EXISTS', unpack(ghosts)) > 0
for i, name in ipairs(names) do
  if left <= 0 then break end
  taken = i
  -- What an earlier invalidation has left; in a later step of this one, the ghosts are its own.
  if any_ghosts and not (begun and i == 1) and redis.call('EXISTS', ghosts[i]) == 1 then
    haunt(name)
    local page = redis.call('SSCAN', ghosts[i], 0, 'COUNT', limit)
    for _, ghost in ipairs(page[2]) do cascade[#cascade + 1] = ghost end
    if page[1] ~= '0' then
      unread[#unread + 1] = name
      unread[#unread + 1] = page[1]
    end
    left = left - #page[2]
  end
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
  else
    cut, cut_from = set, #members - #found + 1
  end
  left = left - #found
end

local below = {}
for i, member in ipairs(members) do
  below[2 * i - 1], below[2 * i] = set_of(member), ghosts_of(member)
end

local has_no_end = {}

-- Keeps a member as a ghost of the name that led to it, as long as what is below may live.
local function keep_ghost(i, member)
  local sets, older = redis.call('PTTL', below[2 * i - 1]), redis.call('PTTL', below[2 * i])
  if sets == -2 and older == -2 then return end
  cascade[#cascade + 1] = member
  haunt(names[owners[i]])
  local to = ghosts[owners[i]]
  local have = redis.call('PTTL', to)
  redis.call('SADD', to, member)
  if sets == -1 or older == -1 then
    redis.call('PERSIST', to)
    has_no_end[#has_no_end + 1] = names[owners[i]]
  elseif have ~= -1 and math.max(sets, older) > have then
    redis.call('PEXPIRE', to, string.format('%.0f', math.max(sets, older)))
  end
end

local removed, more = 0, 0
if members[1] then
  -- Before any set is changed: one of the members may be one of the names.
  if redis.call('EXISTS', unpack(below)) > 0 then
    for i, member in ipairs(members) do keep_ghost(i, member) end
  end
  redis.call('HDEL', NAMES.leases, unpack(members))
  removed = redis.call('UNLINK', unpack(members))
  for _, member in ipairs(members) do redis.call('HDEL', parents_of(member), member) end
  if gone[1] then
    redis.call('UNLINK', unpack(gone))
    redis.call('SREM', lasting, unpack(gone_names))
  end
  -- Ghosts that a crash leaves are found there; see `bury.lua`.
  if has_no_end[1] then redis.call('SADD', lasting, unpack(has_no_end)) end
end
if cut then
  if cut_from <= #members then redis.call('SREM', cut, unpack(members, cut_from)) end
  more = redis.call('EXISTS', cut)
  if more == 0 then redis.call('SREM', lasting, names[taken]) end
end
return { removed, taken, more, haunted, unread, cascade }
