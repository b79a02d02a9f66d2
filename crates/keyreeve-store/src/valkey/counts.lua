-- What one request needs of the counts that all nodes share: everything or nothing, in one step.
--
-- Each limit is a generic cell rate algorithm whose whole state is its theoretical arrival time, as
-- in keyreeve-core's GcraCell; each place is a sorted set of the requests in flight, by when they
-- end, as in its Leases. Times are pairs of seconds and nanoseconds: a number here holds no more than
-- 53 bits. Nothing is multiplied or divided but to find out how long a key is kept.
--
-- KEYS  the limits, then the places
-- ARGV  1 take, peek or give   2 how many limits   3, 4 now, or empty: this server's time
--       5 the request's name in its places, then
--       for each limit, take and peek: what the cost takes, then the whole limit
--                       give: the soonest moment at which it can have drained, then what was taken
--       for each place: how many there may be, and for how many microseconds each
-- Answers: whether everything was taken, or how many places were given up; now; each limit's
-- theoretical arrival time; each place's requests in flight, end in seconds and microseconds, and
-- whether it is full.

-- A count that is full again equals none. It is kept a little longer, should the time go back.
local SLACK_MS = 10000
local BILLION, MILLION = 1000000000, 1000000

local op, limits, request = ARGV[1], tonumber(ARGV[2]), ARGV[5]
local now_s, now_n = tonumber(ARGV[3]), tonumber(ARGV[4])
if not now_s then
  local time = redis.call('TIME')
  now_s, now_n = tonumber(time[1]), tonumber(time[2]) * 1000
end
local now_us = now_s * MILLION + math.floor(now_n / 1000)

local function add(as, an, bs, bn)
  local s, n = as + bs, an + bn
  if n >= BILLION then return s + 1, n - BILLION end
  return s, n
end

-- Never below zero.
local function subtract(as, an, bs, bn)
  local s, n = as - bs, an - bn
  if n < 0 then s, n = s - 1, n + BILLION end
  if s < 0 then return 0, 0 end
  return s, n
end

local function is_before(as, an, bs, bn)
  return as < bs or (as == bs and an < bn)
end

local function read(key)
  local text = redis.call('GET', key)
  if not text then return 0, 0 end
  local s, n = string.match(text, '^(%d+) (%d+)$')
  return tonumber(s), tonumber(n)
end

local function write(key, s, n)
  local left_s, left_n = subtract(s, n, now_s, now_n)
  local keep = left_s * 1000 + math.ceil(left_n / MILLION) + SLACK_MS
  redis.call('SET', key, string.format('%d %d', s, n), 'PX', string.format('%d', keep))
end

local function argument(index)
  return tonumber(ARGV[index])
end

-- First everything is looked at, then everything is written: a request that is refused leaves no
-- trace.
local fits = true
local ends = {}
for i = 1, limits do
  local at = 2 + i * 4
  local s, n = read(KEYS[i])
  if op == 'give' then
    local left_s, left_n = subtract(argument(at), argument(at + 1), now_s, now_n)
    if is_before(argument(at + 2), argument(at + 3), left_s, left_n) then
      left_s, left_n = argument(at + 2), argument(at + 3)
    end
    ends[i] = { subtract(s, n, left_s, left_n) }
  else
    local cost_s, cost_n = argument(at), argument(at + 1)
    local start_s, start_n = s, n
    if is_before(s, n, now_s, now_n) then start_s, start_n = now_s, now_n end
    local ahead_s, ahead_n = add(cost_s, cost_n, subtract(start_s, start_n, now_s, now_n))
    local is_asking_only = cost_s == 0 and cost_n == 0
    if is_asking_only then
      ends[i] = { s, n }
    elseif is_before(argument(at + 2), argument(at + 3), ahead_s, ahead_n) then
      fits = false
      ends[i] = { s, n }
    else
      ends[i] = { add(start_s, start_n, cost_s, cost_n) }
      if op == 'peek' then ends[i] = { s, n } end
    end
  end
end

local places = {}
for i = limits + 1, #KEYS do
  local at = 6 + limits * 4 + (i - limits - 1) * 2
  local most, lasts_us = argument(at), argument(at + 1)
  if op ~= 'peek' then
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', string.format('%d', now_us))
  end
  local in_flight = redis.call('ZCOUNT', KEYS[i], string.format('(%d', now_us), '+inf')
  local own = redis.call('ZSCORE', KEYS[i], request)
  local place = { in_flight = in_flight, end_us = now_us, full = 0,
    lasts_us = lasts_us, own = own }
  if op ~= 'give' and not own and in_flight >= most then
    fits = false
    place.full = 1
    -- The one after whose end there is a place.
    local over = string.format('(%d', now_us)
    local next = redis.call('ZRANGEBYSCORE', KEYS[i], over, '+inf', 'WITHSCORES', 'LIMIT',
      in_flight - most, 1)
    if next[2] then place.end_us = tonumber(next[2]) end
  end
  places[i - limits] = place
end

local done = 0
if op == 'give' then
  for i = 1, limits do write(KEYS[i], ends[i][1], ends[i][2]) end
  for i = limits + 1, #KEYS do done = done + redis.call('ZREM', KEYS[i], request) end
elseif op == 'take' and fits then
  done = 1
  for i = 1, limits do
    if ends[i][1] > 0 or ends[i][2] > 0 then write(KEYS[i], ends[i][1], ends[i][2]) end
  end
  for i = limits + 1, #KEYS do
    local place = places[i - limits]
    if not place.own then place.in_flight = place.in_flight + 1 end
    place.end_us = now_us + place.lasts_us
    redis.call('ZADD', KEYS[i], string.format('%d', place.end_us), request)
    local keep = math.max(redis.call('PTTL', KEYS[i]),
      math.ceil(place.lasts_us / 1000) + SLACK_MS)
    redis.call('PEXPIRE', KEYS[i], string.format('%d', keep))
  end
elseif op == 'take' then
  -- Nothing was taken, so nothing of it shows.
  for i = 1, limits do ends[i] = { read(KEYS[i]) } end
end

local answer = { done, now_s, now_n }
for i = 1, limits do
  table.insert(answer, ends[i][1])
  table.insert(answer, ends[i][2])
end
for _, place in ipairs(places) do
  table.insert(answer, place.in_flight)
  table.insert(answer, math.floor(place.end_us / MILLION))
  table.insert(answer, place.end_us % MILLION)
  table.insert(answer, place.full)
end
return answer
