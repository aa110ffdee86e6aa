-- KEYS: the key. ARGV: how a dependency set's name begins and ends, a random number, the token, the three times of the new
-- head in milliseconds ('' for ever), the fourth in microseconds, '1' if there is a new validator, that, and the names
-- that the value depends on beside those that it has depended on. 1 if the value was kept, 0 if there is none or it may not be
-- stored: then nothing is changed.
local key, names = KEYS[1], {}
for i = 11, #ARGV do names[i - 10] = ARGV[i] end
local lease, head = lease_of(), head_of(key)
if not lease or lease.token ~= ARGV[4] or not head or head.foreign then return 0 end
if not may_store(lease) or may_have_changed(lease, late_names(lease, names)) then return 0 end

head.fresh, head.window, head.age = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local ttl = whole_ttl(head)
local wrong = add_dependents(ttl, KEYS, 1, 1, names, 1, #names)
if wrong then return wrong end
local cost = {}
for place, byte in ipairs({ 16777216, 65536, 256, 1 }) do
  cost[place] = string.char(math.floor(ARGV[8] / byte) % 256)
end
local times = packed(head.fresh) .. packed(head.window) .. packed(head.age) .. table.concat(cost)
if ARGV[9] == '1' then
  local length = string.char(math.floor(#ARGV[10] / 256), #ARGV[10] % 256)
  local model = redis.call('GETRANGE', key, head.begin, -1)
  redis.call('SET', key, '\193\018load' .. times .. length .. ARGV[10] .. model, 'KEEPTTL')
else
  redis.call('SETRANGE', key, 6, times)
end
if ttl then
  redis.call('PEXPIRE', key, string.format('%.0f', ttl))
else
  redis.call('PERSIST', key)
end
keep_in_reach(key, ttl)
drop_lease(lease)
announce()
tidy(ARGV[3])
return 1
