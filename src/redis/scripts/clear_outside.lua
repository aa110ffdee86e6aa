-- Notes what leads out of the namespace that is cleared: the names on which entries of others depend, and what
-- those were derived from, and so on. Sets whose members are too many for this step are answered.
local page = redis.call('SCAN', ARGV[3], 'COUNT', ARGV[4], 'TYPE', 'set')
local large = {}
for _, set in ipairs(page[2]) do
  if not begins(set, depend .. prefix) then
    -- None of ours.
  elseif not affords(set) then
    large[#large + 1] = set
  elseif leads_out(redis.call('SMEMBERS', set)) then
    note(set)
  end
end
return { page[1], 0, marked, large }
