-- The records of a slot's keys: a hash. A record is {its mark, until when the key is registered under its names, until when
-- the record is kept, the names}. It is kept as long as the key's value, and as long as others are registered under the
-- key.
local function record_of(records, key)
  local packed = redis.call('HGET', records, key)
  return packed and cmsgpack.unpack(packed)
end

local function record(records, key, mark, covered, kept, names)
  local left = redis.call('PTTL', records)
  redis.call('HSET', records, key, cmsgpack.pack({ mark, covered, kept, names }))
  extend(records, left, kept)
end

-- Removes records that are kept no longer: with each that comes, two are looked at.
local function tidy_records(records)
  local some = redis.call('HRANDFIELD', records, 2, 'WITHVALUES')
  for i = 1, #some, 2 do
    if cmsgpack.unpack(some[i + 1])[3] < now then redis.call('HDEL', records, some[i]) end
  end
end
