-- Removes registrations that have not been renewed. KEYS: the registrations of the name. ARGV: members and their stamps, in
-- turns. Returns how many were removed.
local gone = {}
for i = 1, #ARGV, 2 do
  local held = redis.call('HGET', KEYS[1], ARGV[i])
  if held and string.match(held, '^%S+') == ARGV[i + 1] then gone[#gone + 1] = ARGV[i] end
end
if gone[1] then redis.call('HDEL', KEYS[1], unpack(gone)) end
return #gone
