-- Removes values. ARGV[5]: a pattern of their keys.
local page = redis.call('SCAN', ARGV[3], 'MATCH', ARGV[5], 'COUNT', ARGV[4], 'TYPE', 'string')
local values = {}
for _, key in ipairs(page[2]) do
  if not begins(key, 'cachestore:') then values[#values + 1] = key end
end
return { page[1], each_thousand(values, 'UNLINK'), marked, {} }
