-- Removes the sets that led to values which have been removed, and the ways back from these. `pattern` is one of what
-- is kept beside values.
local page = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', count)
local large, sets = {}, {}
for _, key in ipairs(page[2]) do
  local kind, name = subject_of(key)
  if kind == 'parents' or (kind and place_of(name)) then
    if kind == 'parents' then
      local size = redis.pcall('HLEN', key)
      if type(size) == 'table' then
        -- A value of that name.
      elseif size > left then
        large[#large + 1] = key
      else
        left = left - size
        thin_out_parents(key, redis.call('HRANDFIELD', key, most))
      end
    else
      -- All members, unless there are more.
      local members = redis.pcall('SRANDMEMBER', key, left + 1)
      if members.err then
        -- A value of that name.
      elseif #members > left then
        large[#large + 1] = key
      else
        left = left - #members
        sets[#sets + 1] = { name = name, key = key, members = members }
      end
    end
  end
end
look_at(sets)
return { page[1], {}, marked, large, undecided }
