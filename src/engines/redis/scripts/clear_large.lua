-- The same for a part of one set, ARGV[8]; `cursor` is the one in it.
local set = ARGV[8]
local kind, name = subject_of(set)
local page
if kind == 'parents' then
  page = redis.call('HSCAN', set, cursor, 'COUNT', count)
  local keys = {}
  for i = 1, #page[2], 2 do keys[#keys + 1] = page[2][i] end
  thin_out_parents(set, keys)
else
  page = redis.call('SSCAN', set, cursor, 'COUNT', count)
  if kind == 'depend' then thin_out(name, page[2]) end
  if page[1] == '0' and redis.call('SCARD', set) <= most then
    look_at({ { name = name, key = set, members = redis.call('SMEMBERS', set) } })
  end
end
return { page[1], {}, marked, {}, undecided }
