-- Registers a member under a name. KEYS: the registrations of the name, the slot's records and, for a load, the loads that
-- name it. ARGV: the name, the member, a stamp, a life and, for a load, its lease and the lease's life. {} if the name
-- is in reach of its own names for as long, else {the time, the mark of its record, its names}.
--
-- A registration is a field: the member, its stamp, and until when it is kept.
local depend, records, name, member = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local ends = end_of(ARGV[4])
local held = redis.call('HGET', depend, member)
if held then ends = math.max(ends, tonumber(string.match(held, ' (%d+)$'))) end
local left = redis.call('PTTL', depend)
redis.call('HSET', depend, member, ARGV[3] .. ' ' .. whole(ends))
extend(depend, left, ends)
if KEYS[3] then
  left = redis.call('PTTL', KEYS[3])
  redis.call('HSET', KEYS[3], member, ARGV[5] .. ' ' .. whole(end_of(ARGV[6])))
  extend(KEYS[3], left, end_of(ARGV[6]))
end

local answer = {}
local above = record_of(records, name)
if above and above[2] < ends then
  answer = { now, above[1], above[4] }
  if above[3] < ends then record(records, name, above[1], above[2], ends, above[4]) end
end
-- With each that comes, two are looked at, and go if they are kept no longer.
local some = redis.call('HRANDFIELD', depend, 2, 'WITHVALUES')
for i = 1, #some, 2 do
  if tonumber(string.match(some[i + 1], ' (%d+)$')) < now then redis.call('HDEL', depend, some[i]) end
end
return answer
