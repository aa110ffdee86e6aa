-- Removes entries. Answers how many there were and, if they are asked for, the keys of these.
local function unlink_all(keys, tells)
  if not tells then return { redis.call('UNLINK', unpack(keys)), {} } end
  local told = {}
  for _, key in ipairs(keys) do
    if redis.call('UNLINK', key) == 1 then told[#told + 1] = key end
  end
  return { #told, told }
end

