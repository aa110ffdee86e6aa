-- The same as one of the others for one set, ARGV[7], or for a part of it. ARGV[3] is the cursor in it, and ARGV[8]
-- '1' where what leads out is looked for.
local set = ARGV[7]
local name, kind = named(set)
if kind == 'ghosts' then
  if not leads_on(set) then redis.call('UNLINK', set) end
  return { '0', 0, marked, {} }
end
local page = redis.call('SSCAN', set, ARGV[3], 'COUNT', ARGV[4])
if ARGV[8] == '1' then
  if leads_out(page[2]) then
    note(set)
    page[1] = '0'
  end
else
  thin_out(set, page[2])
end
return { page[1], 0, marked, {} }
