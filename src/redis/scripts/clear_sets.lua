-- Removes the sets that led to values which have been removed. What is noted in `cachestore:tied` stays, and loses
-- only members that are not. Sets whose members are too many for this step are answered.
local page = redis.call('SCAN', ARGV[3], 'COUNT', ARGV[4], 'TYPE', 'set')
local sets, names, kinds = {}, {}, {}
for _, set in ipairs(page[2]) do
  local name, kind = named(set)
  if name then
    sets[#sets + 1] = set
    names[#sets], kinds[#sets] = name, kind
  end
end

local gone, large = {}, {}
local function look_at(set, kind, is_noted)
  if is_noted and kind ~= 'depend' then
    -- It stays as it is.
  elseif not is_noted and kind ~= 'ghosts' then
    gone[#gone + 1] = set
  elseif not affords(set) then
    large[#large + 1] = set
  elseif is_noted then
    thin_out(set, redis.call('SMEMBERS', set))
  elseif not leads_on(set) then
    gone[#gone + 1] = set
  end
end
for from = 1, #sets, 1000 do
  local to = math.min(from + 999, #sets)
  local noted = redis.call('SMISMEMBER', tied, unpack(names, from, to))
  for i = from, to do look_at(sets[i], kinds[i], noted[i - from + 1] == 1) end
end
unlink(gone)
return { page[1], 0, marked, large }
