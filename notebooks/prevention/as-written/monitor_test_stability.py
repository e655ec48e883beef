# scripts/monitor_test_stability.py
"""
监控测试稳定性
每小时自动运行测试,记录失败情况
"""
import subprocess
import time
from datetime import datetime

def run_tests():
    """运行测试并返回结果"""
    result = subprocess.run(
        ['pytest', 'tests/', '-v', '--tb=line'],
        cwd='backend',
        capture_output=True,
        text=True,
        timeout=60
    )
    return result.returncode == 0, result.stdout

def main():
    print("🔍 开始监控测试稳定性...")

    successes = 0
    failures = 0

    while True:
        timestamp = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
        success, output = run_tests()

        if success:
            successes += 1
            print(f"✅ [{timestamp}] 测试通过 (成功: {successes}, 失败: {failures})")
        else:
            failures += 1
            print(f"❌ [{timestamp}] 测试失败 (成功: {successes}, 失败: {failures})")
            print(f"输出:\n{output}")

            # 失败时发送告警
            send_alert(output)

        # 每小时运行一次
        time.sleep(3600)

if __name__ == "__main__":
    main()
