-- Writes a value. KEYS: the value, the slot's leases, the loads that name the key, the slot's records and, for a value with
-- names, the slot's kills, its intents, and the registrations under the key; last, for a loaded value, the slot's clearings.
-- ARGV: the key, the value, its life, the condition ('', 'NX', 'XX', 'EQ', 'GET', 'LEASE' or 'KEEP'), what 'EQ' expects or the
-- lease of a loaded value and, for a value with names: the stamp that was seen or '', the intent or '', the record's mark, the
-- time from which the key is registered, for how long it is, and the names.
--
-- {1, the loads that name the key, the stamp, the time, the value that there was for 'GET'} if it is written; {0, the loads that
-- name the key if its lease has ended, the stamp, the time} if the condition does not hold; {-1, the stamp, the time} if an
-- invalidation may have come between; {-2, the stamp, the time, a life} if the key has to be registered for longer. The stamp is
-- '' for a value without names.
--
-- 'NX' and 'XX' are those of `SET`, but for loaded values whose life is over: they count as absent. 'KEEP' is 'LEASE' where there
-- is a value, whatever it is.
local value, leases, watch, records = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local key, content, life, condition = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local intent, mark, names, covered, stamp = ARGV[7], ARGV[8], {}, nil, ''
for i = 11, #ARGV do names[i - 10] = ARGV[i] end

local is_loaded = condition == 'LEASE' or condition == 'KEEP'

local function has_token(tokens)
  return tokens and string.find(' ' .. tokens .. ' ', ' ' .. intent .. ' ', 1, true)
end

if mark then
  stamp = stamp_of(KEYS[5], mark)
  local is_sure
  if is_loaded then
    -- An invalidation of the key ends its lease.
    is_sure = true
  elseif intent == '' then
    is_sure = stamp == ARGV[6]
  else
    is_sure = has_token(redis.call('HGET', KEYS[6], key))
  end
  if not is_sure then return { -1, stamp, now } end
end
if is_loaded then
  -- Nothing is to be kept, and the lease goes on.
  if condition == 'KEEP' and redis.call('EXISTS', value) == 0 then return { 0, {}, stamp, now } end
  local lease, ends = string.match(redis.call('HGET', leases, key) or '', '^(%S+) (%d+)')
  local alive = lease == ARGV[5] and tonumber(ends) > now
  -- Loads that name the key may have read what this one has loaded, which is not stored.
  if not alive or is_cleared(KEYS[#KEYS], key, names) then return { 0, watchers_of(watch), stamp, now } end
end
local held
if condition == 'EQ' or condition == 'GET' then
  held = redis.pcall('GET', value)
  if type(held) == 'table' and held.err then return held end
  if condition == 'EQ' and held ~= ARGV[5] then return { 0, {}, stamp, now } end
end
if (condition == 'NX' or condition == 'XX') and is_vacant(value) ~= (condition == 'NX') then
  return { 0, {}, stamp, now }
end
if mark then
  local below = redis.call('PTTL', KEYS[7])
  local ends = end_of(life)
  if below == -1 then ends = ever elseif below >= 0 then ends = math.max(ends, now + below) end
  covered = ARGV[10] == '' and ever or ARGV[9] + ARGV[10]
  if covered < ends then return { -2, stamp, now, ends >= ever and '' or whole(ends - now) } end
  record(records, key, mark, covered, covered, names)
end
if life == '' then
  redis.call('SET', value, content)
else
  redis.call('SET', value, content, 'PX', life)
end
-- What was loaded is stored: that is no change, so that loads that have read the key may be stored too.
local watchers = is_loaded and end_lease(key, leases) or change(key, leases, watch)
if not mark then
  redis.call('HDEL', records, key)
else
  tidy_records(records)
  if intent ~= '' then
    local rest = {}
    for token in string.gmatch(redis.call('HGET', KEYS[6], key), '%S+') do
      if token ~= intent then rest[#rest + 1] = token end
    end
    if rest[1] then
      redis.call('HSET', KEYS[6], key, table.concat(rest, ' '))
    else
      redis.call('HDEL', KEYS[6], key)
    end
  end
end
return { 1, watchers, stamp, now, condition == 'GET' and held }
