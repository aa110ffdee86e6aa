-- What all steps of a cluster whose values are spread have in common; see `spread/protocol.rs`. Each step declares all keys
-- that it uses, and all of them are in one slot. A time is the server's, in milliseconds. A life is a time span in
-- milliseconds, '' for ever. An end is a time, `ever` for ever.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ever = 9007199254740991

local function whole(number)
  return string.format('%.0f', number)
end

local function end_of(life)
  return life == '' and ever or now + tonumber(life)
end

-- Tells waiting loads that the lease of a key has ended. `leases` is the name of the slot's leases. Who may not publish may
-- still end a lease.
local function announce(leases, key)
  redis.pcall('PUBLISH', NAMES.lease .. string.match(leases, '{.*}') .. ':' .. key, '')
end

-- Lets a key live until `ends` at least. `left` is its PTTL from before it was written to.
local function extend(key, left, ends)
  if left == -1 then return end
  if ends >= ever then
    if left >= 0 then redis.call('PERSIST', key) end
  elseif left < ends - now then
    redis.call('PEXPIRE', key, whole(ends - now))
  end
end
