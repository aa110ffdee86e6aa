-- What scripts know of loaded values: the head that `envelope.rs` describes, which comes before the model. `begin` is how
-- many bytes come before the model, the validator among them.
-- Times are in milliseconds; numbers are exact up to 2^53, and the longest TTL is far below that.
local longest_ttl = 3153600000000

-- The head of a key's value: `foreign` if its version is unknown, `nothing` if its model is a `None`. nil if the
-- value was not loaded, or there is none.
local function head_of(key)
  local bytes = redis.pcall('GETRANGE', key, 0, 38)
  -- Data of another type is no value.
  if type(bytes) ~= 'string' or string.byte(bytes, 1) ~= 193 then return nil end
  local version = string.byte(bytes, 2)
  if not version or version > 31 or string.sub(bytes, 3, 6) ~= 'load' then return nil end
  if version ~= 2 and version ~= 18 then return { foreign = true } end
  if #bytes < 34 then return nil end
  local begin = 34
  if version == 18 then
    begin = 36 + (string.byte(bytes, 35) or 0) * 256 + (string.byte(bytes, 36) or 0)
  end

  -- Eight bytes from `at` on, big-endian; nil if all are ones, which is for ever.
  local function number(at)
    local sum, ever = 0, true
    for i = at, at + 7 do
      local byte = string.byte(bytes, i)
      sum = sum * 256 + byte
      ever = ever and byte == 255
    end
    if ever then return nil end
    return sum
  end
  local model = version == 2 and string.sub(bytes, 35) or redis.call('GETRANGE', key, begin, begin + 4)
  return {
    fresh = number(7),
    window = number(15) or 0,
    age = number(23) or 0,
    begin = begin,
    nothing = model == '\192' or model == 'null',
  }
end

-- A number as `head_of` reads it: eight bytes, big-endian; all ones for nil.
local function packed(number)
  if not number then return string.rep('\255', 8) end
  local bytes = {}
  for i = 8, 1, -1 do
    bytes[i] = string.char(number % 256)
    number = math.floor(number / 256)
  end
  return table.concat(bytes)
end

-- The TTL of an entry when its head is written; nil for ever.
local function whole_ttl(head)
  return head.fresh and math.min(head.fresh + head.window, longest_ttl)
end

-- How long ago the head was written, from the `PTTL` of its entry. nil if it is fresh for ever.
local function elapsed_of(head, left)
  if not head.fresh or left < 0 then return nil end
  return math.max(whole_ttl(head) - math.max(left, 1), 0)
end

-- Whether the life of a loaded value is over: it is stale, or its form is not known.
local function is_over(head, left)
  if head.foreign then return true end
  local elapsed = elapsed_of(head, left)
  return elapsed ~= nil and elapsed >= head.fresh
end

-- Whether `add` may write: the key has no value, or one whose life is over, or a cached `None`.
local function is_vacant(key)
  local left = redis.call('PTTL', key)
  if left == -2 then return true end
  local head = head_of(key)
  return head ~= nil and (head.nothing or is_over(head, left))
end
