-- Whether a key or one of its names is under a clearing that goes on; see `mark.lua`.
local function is_cleared(clearings, key, names)
  for _, clearing in ipairs(redis.call('HVALS', clearings)) do
    local ends, prefix = string.match(clearing, '^(%d+) (.*)$')
    if tonumber(ends) > now then
      if string.sub(key, 1, #prefix) == prefix then return true end
      for _, name in ipairs(names) do
        if string.sub(name, 1, #prefix) == prefix then return true end
      end
    end
  end
  return false
end
