-- Posts one stateless run to LangGraph's `/runs/wait` and checks every answer.
--
-- A run that fails still answers 200 (the status is sent before the run ends),
-- so an answer counts as good only if it is 2xx and carries the graph's message.
-- Totals of all threads are printed at the end; wrk's own "Non-2xx" line leaves
-- out 1xx and 3xx.

wrk.method = "POST"
wrk.path = "/runs/wait"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"assistant_id":"constant","input":{"messages":[{"role":"user","content":"hello"}]}}'

local ANSWER = "The quick brown fox jumps over the lazy dog."
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init()
  answers, non2xx, wrong = 0, 0, 0
end

function response(status, headers, body)
  answers = answers + 1
  if status < 200 or status > 299 then
    non2xx = non2xx + 1
  elseif not body:find(ANSWER, 1, true) then
    wrong = wrong + 1
  end
end

function done()
  local total = { answers = 0, non2xx = 0, wrong = 0 }
  for _, thread in ipairs(threads) do
    for name in pairs(total) do
      total[name] = total[name] + thread:get(name)
    end
  end
  print(("answers %d, non-2xx %d, 2xx without the message %d")
    :format(total.answers, total.non2xx, total.wrong))
end
