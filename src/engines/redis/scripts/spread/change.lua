-- Changes a value in place. KEYS: the value, the slot's leases, the loads that name the key, and the slot's records. ARGV: the key, what is done
-- ('DEL', 'GETDEL', 'EQ' or 'INCR'), and for 'EQ' the value that it must hold, for 'INCR' what is added and the
-- life of a counter that this creates. {how many values were removed, or what was there, or the sum as text; the loads
-- that name the key}.
local value, act = KEYS[1], ARGV[2]
local held
if act == 'GETDEL' or act == 'EQ' then
  held = redis.pcall('GET', value)
  if type(held) == 'table' and held.err then return held end
  if act == 'EQ' and held ~= ARGV[3] then return { 0, {} } end
end
local reply
if act == 'INCR' then
  reply = ARGV[3]
  if redis.call('EXISTS', value) == 0 then
    if ARGV[4] == '' then
      redis.call('SET', value, reply)
    else
      redis.call('SET', value, reply, 'PX', ARGV[4])
    end
    -- A counter depends on nothing, whatever was there before.
    redis.call('HDEL', KEYS[4], ARGV[1])
  else
    local added = redis.pcall('INCRBY', value, reply)
    if type(added) == 'table' and added.err then return added end
    -- As text: a number of Lua's has 53 bits.
    reply = redis.call('GET', value)
  end
else
  reply = redis.call('DEL', value)
  if act == 'GETDEL' then reply = held end
end
return { reply, change(ARGV[1], KEYS[2], KEYS[3]) }
