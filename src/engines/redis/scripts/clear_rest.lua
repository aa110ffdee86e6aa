-- Decides about the names that come after the prefixes, those below first, so that each needs a short look. The next
-- cursor is how many it has decided about.
local looked, at = 0, 0
while looked < most and ARGV[10 + #prefixes + at] do
  looked = looked + 1 + reap(ARGV[10 + #prefixes + at], most, 64, seed)
  at = at + 1
end
return { tostring(at), {}, marked, {}, {} }
