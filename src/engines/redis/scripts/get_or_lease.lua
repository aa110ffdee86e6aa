-- Before `lease_take.lua`, with its KEYS and ARGV: {2, the value's PTTL, the value} if the key holds a value, which
-- ends the script before anything of a lease is looked at. Else what that answers.
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' then return found end
if found then return { 2, redis.call('PTTL', KEYS[1]), found } end
