-- Notes what leads out of the namespace that is cleared: the names on which entries of others depend, and what
-- those were derived from, and so on. ARGV[5] and ARGV[6]: how a dependency set's name begins and ends.
local depend, close = ARGV[5], ARGV[6]
local page = redis.call('SCAN', ARGV[3], 'COUNT', ARGV[4], 'TYPE', 'set')

-- A set of more members than a step may look at counts as one that does.
local function leads_out(set)
  if redis.call('SCARD', set) > 1000 then return true end
  for _, member in ipairs(redis.call('SMEMBERS', set)) do
    if not begins(member, prefix) then return true end
  end
  return false
end

local function note(names)
  while names[1] do
    local name = table.remove(names)
    if redis.call('SADD', tied, name) == 1 then
      for _, above in ipairs(redis.call('SMEMBERS', 'cachestore:parents:{' .. name .. '}')) do
        names[#names + 1] = above
      end
    end
  end
end

for _, set in ipairs(page[2]) do
  if begins(set, depend .. prefix) and leads_out(set) then
    note({ string.sub(set, #depend + 1, -1 - #close) })
  end
end
return { page[1], 0, marked }
