-- What the steps of a clearing that look at sets have in common. ARGV[7]: a random number.
local seed = tonumber(ARGV[7])
-- How many members one set may have for a step to look at them at once, and how many of all sets this step has
-- left to look at.
local most, left = 1000, 1000
local undecided = {}

-- What a key is kept for: the kind of it, and its name.
local function subject_of(key)
  if begins(key, depend) then return 'depend', string.sub(key, #depend + 1, -1 - #close) end
  if begins(key, NAMES.tombstones) then return 'tombstones', string.sub(key, #NAMES.tombstones + 1, -2) end
  if begins(key, NAMES.parents) then return 'parents' end
end

-- The members as the keys of a table.
local function marked_in(members)
  local is_in = {}
  for _, member in ipairs(members) do is_in[member] = true end
  return is_in
end

-- Removes sets at once if none of all their members has life or something that depends on it, as after most clearings.
local function gone_together(sets, members)
  if #parted(lifeless(members)) < #members then return false end
  local keys, names = {}, {}
  for i, set in ipairs(sets) do
    if set.key ~= set_of(set.name) then return false end
    keys[i], names[i] = set.key, set.name
  end
  note_changed(unpack(members))
  redis.call('UNLINK', unpack(keys))
  redis.call('SREM', lasting, unpack(names))
  return true
end

-- Decides about sets where their members alone tell: each set has a `name`, a `key` and its `members`. All sets of a step
-- are looked at together, for most of the cost of a small set is that of the calls.
local function look_at(sets)
  local all = {}
  for _, set in ipairs(sets) do
    for _, member in ipairs(set.members) do all[#all + 1] = member end
  end
  if not all[1] or gone_together(sets, all) then return end
  local is_empty, leads_on = marked_in(lifeless(all)), marked_in(select(2, parted(all)))
  local gone, gone_names = {}, {}
  for _, set in ipairs(sets) do
    local dead, inner, is_needed = {}, {}, false
    for _, member in ipairs(set.members) do
      if leads_on[member] then is_needed = true end
      if is_empty[member] then
        local into = leads_on[member] and inner or dead
        into[#into + 1] = member
      end
    end
    if set.key == set_of(set.name) then
      if #dead == #set.members then
        gone[#gone + 1], gone_names[#gone_names + 1] = set.key, set.name
        note_changed(unpack(dead))
      elseif dead[1] then
        take_out(set.name, dead)
      end
    elseif not is_needed then
      -- Tombstones are kept for what is below them.
      redis.call('UNLINK', set.key)
      if redis.call('EXISTS', set_of(set.name)) == 0 then redis.call('SREM', lasting, set.name) end
    end
    if inner[1] and #dead + #inner == #set.members then
      undecided[#undecided + 1] = set.name
      undecided[#undecided + 1] = #inner
      for _, member in ipairs(inner) do undecided[#undecided + 1] = member end
    end
  end
  if gone[1] then
    redis.call('UNLINK', unpack(gone))
    redis.call('SREM', lasting, unpack(gone_names))
  end
end
