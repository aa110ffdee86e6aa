-- KEYS: the lock, its record. ARGV: the secret, the channel, and the token of the hold if it is known. 1 if it was
-- released, 0 if there is none, -1 if it is another's.
local held = redis.call('GET', KEYS[1])
if not held then return 0 end
local token = string.match(redis.call('GET', KEYS[2]) or '', '^%d+')
-- The same secret may have taken the lock again since this release was first sent. Without a record nobody can tell.
if held ~= ARGV[1] or (ARGV[3] and token and token ~= ARGV[3]) then return -1 end
redis.call('DEL', KEYS[1])
if token then
  -- The record gets a higher token, so that a check at a new primary sees that this lock was released. Others may have a
  -- guard of the same secret.
  token = string.format('%.0f', token + 1)
  redis.call('SET', KEYS[2], token, 'KEEPTTL')
end
-- A user that may not publish may still release.
redis.pcall('PUBLISH', ARGV[2], token or '')
return 1
